-- Why a job that could have run at several places ran where it did, in words; none where nothing was to be chosen.
ALTER TABLE jobs ADD COLUMN why_here TEXT;
