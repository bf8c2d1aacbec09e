-- How far apart are the models, in which values, and from which epoch on?
-- :run  the run
-- Every other model is compared with the run's first. One row for each loss and parameter, the largest gap
-- first; first_epoch is the first that differs at all.
-- `job query` computes the answer from these rows in NumPy (job/computed.py).
SELECT model, epoch, train_loss, test_loss, parameters
FROM epochs
WHERE run_id = :run
ORDER BY model, epoch
