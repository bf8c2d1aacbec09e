-- Did the run overfit: at which epoch was the test loss best, and how far has it risen since?
-- :run  the run
WITH last AS (
    SELECT model, max(epoch) AS epoch, min(test_loss) AS best FROM epochs WHERE run_id = :run GROUP BY model
), best AS (
    SELECT e.model, min(e.epoch) AS epoch
    FROM epochs e
    JOIN last l ON l.model = e.model AND l.best = e.test_loss
    WHERE e.run_id = :run
    GROUP BY e.model
)
SELECT b.model, b.epoch AS best_epoch, l.best AS best_test_loss, l.epoch AS last_epoch,
    e.test_loss AS last_test_loss, e.test_loss - l.best AS rise,
    100 * (e.test_loss - l.best) / nullif(l.best, 0) AS rise_percent,
    s.train_loss AS train_loss_at_best, e.train_loss AS last_train_loss
FROM best b
JOIN last l ON l.model = b.model
JOIN epochs e ON e.run_id = :run AND e.model = l.model AND e.epoch = l.epoch
JOIN epochs s ON s.run_id = :run AND s.model = b.model AND s.epoch = b.epoch
ORDER BY b.model
