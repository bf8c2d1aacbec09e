-- Which runs ended with the lowest train loss?
-- Losses of different tables or targets cannot be compared: hence the columns dataset and target.
WITH RECURSIVE trained AS (
    -- One seek in the primary key for each run and model; a GROUP BY would read every epoch.
    SELECT r.id AS run_id, (SELECT min(e.model) FROM epochs e WHERE e.run_id = r.id) AS model
    FROM runs r
    UNION ALL
    SELECT t.run_id, (SELECT min(e.model) FROM epochs e WHERE e.run_id = t.run_id AND e.model > t.model)
    FROM trained t
    WHERE t.model IS NOT NULL
)
SELECT t.run_id AS run, t.model, r.status, e.epoch AS last_epoch, e.train_loss, e.test_loss,
    r.learning_rate, r.seed, r.trigger, d.name AS dataset, d.target
FROM trained t
JOIN runs r ON r.id = t.run_id
JOIN datasets d ON d.id = r.dataset_id
JOIN epochs e ON e.run_id = t.run_id AND e.model = t.model AND e.epoch = (
    SELECT max(l.epoch) FROM epochs l WHERE l.run_id = t.run_id AND l.model = t.model
)
ORDER BY e.train_loss, t.run_id, t.model
