-- What were the losses of each model, at every Nth epoch and the last?
-- :run  the run
-- :every = 1000  epochs from one row to the next
-- Mean squared errors before the epoch's update, in squared units of the normalised target.
WITH last AS (
    SELECT model, max(epoch) AS epoch FROM epochs WHERE run_id = :run GROUP BY model
)
SELECT e.epoch, e.model, e.train_loss, e.test_loss
FROM epochs e
JOIN last l ON l.model = e.model
WHERE e.run_id = :run AND (e.epoch % :every = 0 OR e.epoch = l.epoch)
ORDER BY e.epoch, e.model
