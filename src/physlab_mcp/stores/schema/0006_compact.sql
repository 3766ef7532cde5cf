-- What many rows say alike stands here once; its id follows from its bytes. See stores/compact.py.
CREATE TABLE templates (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
ALTER TABLE jobs ADD COLUMN template INTEGER;
-- Room that a job's row gives up when it is dispatched: so it does not grow, and its page is not split.
ALTER TABLE jobs ADD COLUMN room BLOB;
ALTER TABLE results ADD COLUMN template INTEGER;
DROP INDEX cache_job;
-- Bodies of results, many in one, because each alone wastes a part of its last page. Made when nothing else is to do.
CREATE TABLE volumes (pk INTEGER PRIMARY KEY, body BLOB NOT NULL);
ALTER TABLE results ADD COLUMN volume INTEGER;
ALTER TABLE results ADD COLUMN start INTEGER;
ALTER TABLE results ADD COLUMN size INTEGER;
CREATE INDEX results_loose ON results (job) WHERE volume IS NULL;
