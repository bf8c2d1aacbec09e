-- Which runs have the same bits?
-- A line for each model and digest: runs with the same digest have the same losses and parameters, bit for bit, at
-- every epoch. Of runs that are not completed, and of those of an earlier version whose digests are not computed,
-- there is none.
SELECT m.name AS model, m.digest, count(*) AS runs, min(r.id) AS first_run, max(r.id) AS last_run,
    min(r.created_at) AS first_created, max(r.created_at) AS last_created
FROM models m
JOIN runs r ON r.id = m.run_id
WHERE m.digest IS NOT NULL
GROUP BY m.name, m.digest
ORDER BY first_run, model
