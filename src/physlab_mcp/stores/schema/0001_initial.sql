CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO meta VALUES ('seq', 0), ('durable_seq', 0);

CREATE TABLE leaders (
  name TEXT PRIMARY KEY, claimer TEXT NOT NULL, fence INTEGER NOT NULL, lease_until REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE plans (
  pk INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  session_id TEXT,
  dag_id TEXT NOT NULL,
  body BLOB NOT NULL,
  total INTEGER NOT NULL,
  next_index INTEGER NOT NULL DEFAULT 0,
  paused INTEGER NOT NULL DEFAULT 0,
  stopped INTEGER NOT NULL DEFAULT 0,
  jobs INTEGER NOT NULL DEFAULT 0,
  pending INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0, submitting INTEGER NOT NULL DEFAULT 0,
  queued INTEGER NOT NULL DEFAULT 0, running INTEGER NOT NULL DEFAULT 0, paused_jobs INTEGER NOT NULL DEFAULT 0,
  collecting INTEGER NOT NULL DEFAULT 0, succeeded INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
  cancelled INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
  created_at REAL NOT NULL, started_at REAL NOT NULL DEFAULT 0, ended_at REAL NOT NULL DEFAULT 0,
  idempotency_key TEXT,
  first_seq INTEGER NOT NULL DEFAULT 0, last_seq INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX plans_idempotency ON plans (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX plans_open ON plans (pk) WHERE next_index < total AND paused = 0 AND stopped = 0;

CREATE TABLE runs (
  pk INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  plan INTEGER NOT NULL,
  owner TEXT NOT NULL,
  session_id TEXT,
  dag_id TEXT NOT NULL,
  point_index INTEGER NOT NULL,
  point TEXT NOT NULL,
  title TEXT NOT NULL,
  jobs INTEGER NOT NULL,
  pending INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0, submitting INTEGER NOT NULL DEFAULT 0,
  queued INTEGER NOT NULL DEFAULT 0, running INTEGER NOT NULL DEFAULT 0, paused_jobs INTEGER NOT NULL DEFAULT 0,
  collecting INTEGER NOT NULL DEFAULT 0, succeeded INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
  cancelled INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
  created_at REAL NOT NULL, started_at REAL NOT NULL DEFAULT 0, ended_at REAL NOT NULL DEFAULT 0
);
CREATE INDEX runs_plan ON runs (plan, point_index);

CREATE TABLE jobs (
  pk INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  owner TEXT NOT NULL,
  session_id TEXT,
  run_id TEXT, sweep_id TEXT, point_index INTEGER, node_id TEXT,
  run INTEGER, plan INTEGER,
  spec BLOB NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT 'none', reason_text TEXT NOT NULL DEFAULT '', reason_since REAL NOT NULL DEFAULT 0,
  version INTEGER NOT NULL DEFAULT 0,
  attempt INTEGER NOT NULL DEFAULT 1,
  lost INTEGER NOT NULL DEFAULT 0,
  fence INTEGER NOT NULL DEFAULT 0,
  claimer TEXT, lease_until REAL NOT NULL DEFAULT 0,
  needs TEXT NOT NULL DEFAULT '', needs_left INTEGER NOT NULL DEFAULT 0,
  backend TEXT NOT NULL, queue TEXT, native_id TEXT, submission TEXT, idx INTEGER,
  priority INTEGER NOT NULL DEFAULT 0, position INTEGER NOT NULL DEFAULT 0, rank REAL NOT NULL DEFAULT 0,
  not_before REAL NOT NULL DEFAULT 0,
  created_at REAL NOT NULL, observed_at REAL NOT NULL DEFAULT 0,
  idempotency_key TEXT,
  parallelism INTEGER NOT NULL DEFAULT 0, grp TEXT,
  cache_key TEXT,
  started_at REAL NOT NULL DEFAULT 0, ended_at REAL NOT NULL DEFAULT 0,
  first_seq INTEGER NOT NULL DEFAULT 0, last_seq INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX jobs_idempotency ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_ready ON jobs (backend, priority DESC, position, rank DESC, pk, grp, not_before)
  WHERE state = 'pending' AND needs_left = 0;
CREATE INDEX jobs_waiting ON jobs (not_before) WHERE state = 'pending' AND not_before > 0;
CREATE INDEX jobs_abroad ON jobs (state, pk) WHERE state IN ('held','submitting','queued','running','paused','collecting');
CREATE INDEX jobs_run ON jobs (run) WHERE run IS NOT NULL;
CREATE INDEX jobs_plan_live ON jobs (plan, pk) WHERE plan IS NOT NULL
  AND state IN ('pending','held','submitting','queued','running','paused','collecting');
CREATE INDEX jobs_same_work ON jobs (cache_key) WHERE cache_key IS NOT NULL
  AND state IN ('submitting','queued','running','paused','collecting');

-- child waits for parent; a soft edge is released by any end of the parent, a hard one by success only
CREATE TABLE needs (
  parent INTEGER NOT NULL, child INTEGER NOT NULL, soft INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (parent, child)
) WITHOUT ROWID;

CREATE TABLE results (job INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE cache (key TEXT PRIMARY KEY, job INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX cache_job ON cache (job);

-- One row holds the events one transaction wrote for one subject: their seqs are seq-n+1 .. seq.
CREATE TABLE events (
  seq INTEGER PRIMARY KEY, n INTEGER NOT NULL, job INTEGER, subject TEXT, body BLOB NOT NULL
);
CREATE INDEX events_job ON events (job) WHERE job IS NOT NULL;
CREATE INDEX events_subject ON events (subject) WHERE subject IS NOT NULL;

CREATE TABLE requests (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, verb TEXT NOT NULL, subject TEXT NOT NULL, owner TEXT NOT NULL,
  at REAL NOT NULL, args TEXT NOT NULL, carried INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX requests_open ON requests (seq) WHERE carried = 0;

CREATE TABLE records (
  seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, subject TEXT, at REAL NOT NULL, body BLOB NOT NULL,
  UNIQUE (kind, id)
);
CREATE INDEX records_subject ON records (kind, subject, seq) WHERE subject IS NOT NULL;
