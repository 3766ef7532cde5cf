-- Older events, many rows in one compressed record: (first_seq .. last_seq], body = zlib of JSON rows.
CREATE TABLE segments (
  first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX segments_last ON segments (last_seq);
