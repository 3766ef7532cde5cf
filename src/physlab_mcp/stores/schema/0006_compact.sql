-- What many rows say alike stands here once; its id follows from its bytes. See stores/compact.py.
CREATE TABLE templates (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
ALTER TABLE jobs ADD COLUMN template INTEGER;
-- Room that a job's row gives up when it is dispatched: so it does not grow, and its page is not split.
ALTER TABLE jobs ADD COLUMN room BLOB;
ALTER TABLE results ADD COLUMN template INTEGER;
DROP INDEX cache_job;
