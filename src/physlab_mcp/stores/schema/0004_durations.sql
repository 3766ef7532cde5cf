-- What work took, learnt from what ended: key = hash of the same work (see engine/durations.py), seconds, how often, when last.
CREATE TABLE durations (
  key INTEGER PRIMARY KEY, mean REAL NOT NULL, n INTEGER NOT NULL, last REAL NOT NULL
);
