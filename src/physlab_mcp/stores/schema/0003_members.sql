-- A job that several runs of a sweep share belongs to jobs.run, the first of them, and to these.
CREATE TABLE members (job INTEGER NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (job, run)) WITHOUT ROWID;
CREATE INDEX members_run ON members (run, job);
ALTER TABLE jobs ADD COLUMN shared INTEGER NOT NULL DEFAULT 0;
