-- Which parameters turn round, at which epoch, and does the train loss bend there?
-- :run  the run
-- :least = 0.001  distance that a parameter must go before and after a turn, or it is the noise of rounding
-- :around = 50  epochs before and after the turn over which the train loss's fall is taken
-- went_before counts from the turn (or start) before, went_after up to the turn (or end) after. A loss that
-- bends at the turn falls at clearly different rates before and after it.
WITH neighbours AS (
    SELECT model, epoch, weights || bias::real AS here,
        lag(weights || bias::real) OVER around AS before, lead(weights || bias::real) OVER around AS after
    FROM epochs
    WHERE run_id = :run
    WINDOW around AS (PARTITION BY model ORDER BY epoch)
), steps AS (
    SELECT n.model, w.position, n.epoch, w.here::double precision AS value,
        w.here::double precision - w.before AS step, w.after::double precision - w.here AS next_step
    FROM neighbours n, unnest(n.here, n.before, n.after) WITH ORDINALITY AS w (here, before, after, position)
), moves AS (
    -- Where a parameter may turn: few rows of many. Epochs at which it stands still say nothing about its
    -- direction, save the last of them, which knows the next step.
    SELECT model, position, epoch, value, step, CASE
            WHEN next_step = 0 THEN lead(next_step) OVER (PARTITION BY model, position ORDER BY epoch)
            ELSE next_step
        END AS next_step
    FROM steps
    WHERE (sign(step) = sign(next_step)) IS NOT TRUE
), swings AS (
    -- The turns, and the two ends of each parameter's way, whose step or next step is null.
    SELECT model, position, epoch, value, step, next_step,
        value - lag(value) OVER (PARTITION BY model, position ORDER BY epoch) AS went_before,
        lead(value) OVER (PARTITION BY model, position ORDER BY epoch) - value AS went_after
    FROM moves
    WHERE step IS NULL OR step <> 0 AND (next_step IS NULL OR sign(step) <> sign(next_step))
), turns AS (
    SELECT * FROM swings
    WHERE step IS NOT NULL AND next_step IS NOT NULL
        AND abs(went_before) >= :least AND abs(went_after) >= :least
)
SELECT t.model, coalesce(f.name, 'bias') AS parameter, t.epoch, t.value, t.went_before, t.went_after,
    here.train_loss,
    (earlier.train_loss - here.train_loss) / (here.epoch - earlier.epoch) AS loss_fall_before,
    (here.train_loss - later.train_loss) / (later.epoch - here.epoch) AS loss_fall_after
FROM turns t
JOIN runs r ON r.id = :run
LEFT JOIN features f ON f.dataset_id = r.dataset_id AND f.position = t.position - 1
JOIN epochs here ON here.run_id = :run AND here.model = t.model AND here.epoch = t.epoch
LEFT JOIN epochs earlier
    ON earlier.run_id = :run AND earlier.model = t.model AND earlier.epoch = t.epoch - :around
LEFT JOIN epochs later
    ON later.run_id = :run AND later.model = t.model AND later.epoch = t.epoch + :around
ORDER BY t.model, t.epoch, parameter
