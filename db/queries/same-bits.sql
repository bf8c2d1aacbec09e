-- Which runs have the same bits?
-- Runs of one line have the same losses and parameters, bit for bit, at every epoch. The digest is shortened to 12
-- digits. Runs that are not completed have none.
SELECT m.name AS model, substr(m.digest, 1, 12) AS digest, count(*) AS runs, min(r.id) AS first_run,
    max(r.id) AS last_run, min(r.created_at) AS first_created
FROM models m
JOIN runs r ON r.id = m.run_id
WHERE m.digest IS NOT NULL
GROUP BY m.name, m.digest
ORDER BY first_run, model
