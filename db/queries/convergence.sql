-- When was the train loss within 1 % and 0.1 % of its final value, and how far is that from the optimum?
-- :run  the run
-- :optimum = null  lowest train loss that any weights can have: least squares, computed from the data file
WITH last AS (
    SELECT model, max(epoch) AS epoch FROM epochs WHERE run_id = :run GROUP BY model
), final AS (
    SELECT e.model, e.epoch, e.train_loss
    FROM epochs e
    JOIN last l ON l.model = e.model AND l.epoch = e.epoch
    WHERE e.run_id = :run
)
SELECT f.model, f.epoch AS last_epoch, f.train_loss AS final_train_loss,
    (SELECT min(e.epoch) FROM epochs e WHERE e.run_id = :run AND e.model = f.model
        AND abs(e.train_loss - f.train_loss) <= 0.01 * abs(f.train_loss)) AS within_1_percent,
    (SELECT min(e.epoch) FROM epochs e WHERE e.run_id = :run AND e.model = f.model
        AND abs(e.train_loss - f.train_loss) <= 0.001 * abs(f.train_loss)) AS within_0_1_percent,
    CAST(:optimum AS double precision) AS optimum,
    f.train_loss - CAST(:optimum AS double precision) AS above_optimum,
    100 * (f.train_loss - CAST(:optimum AS double precision))
        / nullif(CAST(:optimum AS double precision), 0) AS above_optimum_percent
FROM final f
ORDER BY f.model
