-- What were the final and the best losses of each run of a sweep?
-- :name  the sweep
-- Losses are those of each model's last epoch; best_test_loss is the lowest of all epochs.
WITH members AS (
    SELECT id, seed, learning_rate, status, epochs FROM runs WHERE sweep = :name
), ends AS (
    SELECT e.run_id, e.model, max(e.epoch) AS epoch, min(e.test_loss) AS best_test_loss
    FROM members m
    JOIN epochs e ON e.run_id = m.id
    GROUP BY e.run_id, e.model
)
SELECT m.learning_rate, m.seed, m.id AS run, m.status, n.model, n.epoch AS last_epoch,
    e.train_loss, e.test_loss, n.best_test_loss
FROM members m
LEFT JOIN ends n ON n.run_id = m.id
LEFT JOIN epochs e ON e.run_id = m.id AND e.model = n.model AND e.epoch = n.epoch
ORDER BY m.learning_rate, m.seed, m.id, n.model
