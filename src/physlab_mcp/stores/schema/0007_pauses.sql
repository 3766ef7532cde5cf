-- For how many seconds a job's present attempt was paused after it had started: that is no running time.
ALTER TABLE jobs ADD COLUMN paused_s REAL NOT NULL DEFAULT 0;
