-- Which parameters change direction, at which epoch, and do the losses bend there?
-- :run  the run
-- :least = 0.001  distance that a parameter must move before and after a turn; less counts as rounding noise
-- :around = 50  epochs before and after the turn over which the fall of the train loss is measured
-- went_before is the distance from the previous turn (or start), went_after to the next turn (or end). A loss
-- that bends at the turn falls at clearly different rates before and after it. test_rises_from and test_rises_to
-- are the stretch of `overfitting` in which the parameter turns. predicted_epoch is the epoch of the turn on the
-- exact path, the half-lives in epochs are those of the two modes that make it.
-- `job query` computes the answer from these rows in NumPy (job/computed.py).
SELECT model, epoch, train_loss, test_loss, parameters
FROM epochs
WHERE run_id = :run
ORDER BY model, epoch
