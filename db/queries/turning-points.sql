-- Which parameters turn round, at which epoch, and does the train loss bend there?
-- :run  the run
-- :least = 0.001  distance that a parameter must go before and after a turn, or it is the noise of rounding
-- :around = 50  epochs before and after the turn over which the train loss's fall is taken
-- went_before counts from the turn (or start) before, went_after up to the turn (or end) after. A loss that
-- bends at the turn falls at clearly different rates before and after it.
WITH history AS (
    SELECT model, parameter, epoch, value,
        lag(value) OVER (PARTITION BY model, parameter ORDER BY epoch) AS value_before
    FROM parameter_history
    WHERE run_id = :run
), moves AS (
    -- Epochs at which a parameter stands still say nothing about its direction.
    SELECT model, parameter, epoch, value, value - value_before AS step,
        lead(value - value_before) OVER (PARTITION BY model, parameter ORDER BY epoch) AS next_step
    FROM history
    WHERE value_before IS NULL OR value <> value_before
), swings AS (
    -- The turns, and the two ends of each parameter's way, whose step or next step is null.
    SELECT model, parameter, epoch, value, step, next_step,
        value - lag(value) OVER (PARTITION BY model, parameter ORDER BY epoch) AS went_before,
        lead(value) OVER (PARTITION BY model, parameter ORDER BY epoch) - value AS went_after
    FROM moves
    WHERE step IS NULL OR next_step IS NULL OR (step > 0) <> (next_step > 0)
)
SELECT s.model, s.parameter, s.epoch, s.value, s.went_before, s.went_after,
    here.train_loss,
    (earlier.train_loss - here.train_loss) / (here.epoch - earlier.epoch) AS loss_fall_before,
    (here.train_loss - later.train_loss) / (later.epoch - here.epoch) AS loss_fall_after
FROM swings s
JOIN epochs here ON here.run_id = :run AND here.model = s.model AND here.epoch = s.epoch
LEFT JOIN epochs earlier
    ON earlier.run_id = :run AND earlier.model = s.model AND earlier.epoch = s.epoch - :around
LEFT JOIN epochs later
    ON later.run_id = :run AND later.model = s.model AND later.epoch = s.epoch + :around
WHERE s.step IS NOT NULL AND s.next_step IS NOT NULL
    AND abs(s.went_before) >= :least AND abs(s.went_after) >= :least
ORDER BY s.model, s.epoch, s.parameter
