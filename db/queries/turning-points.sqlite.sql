-- Which parameters change direction, at which epoch, and does the train loss bend there?
-- :run  the run
-- :least = 0.001  distance that a parameter must move before and after a turn; less counts as rounding noise
-- :around = 50  epochs before and after the turn over which the fall of the train loss is measured
-- went_before is the distance from the previous turn (or start), went_after to the next turn (or end). A loss
-- that bends at the turn falls at clearly different rates before and after it. `job query` adds three columns:
-- the epoch of the turn on the exact path, and the half-lives in epochs of the two modes that make it.
WITH neighbours AS (
    SELECT model, epoch, parameters AS here, lag(parameters) OVER course AS before,
        lead(parameters) OVER course AS after
    FROM epochs
    WHERE run_id = :run
    WINDOW course AS (PARTITION BY model ORDER BY epoch)
), courses AS (
    -- A query with a LIMIT is not merged into the outer one, which would parse the vectors again at each use.
    SELECT n.model, n.epoch, p.name AS parameter, n.here ->> p.position AS here, n.before ->> p.position AS before,
        n.after ->> p.position AS after
    FROM neighbours n
    JOIN parameters p ON p.run_id = :run
    LIMIT -1
), moves AS (
    -- The few epochs at which a parameter may turn. Epochs without a step say nothing about its direction,
    -- except the last of them, which has the next step.
    SELECT model, parameter, epoch, here AS value, here - before AS step,
        coalesce(nullif(after - here, 0), lead(after - here) OVER (PARTITION BY model, parameter ORDER BY epoch))
            AS next_step
    FROM courses
    WHERE (sign(here - before) = sign(after - here)) IS NOT TRUE
), swings AS (
    -- The turns, and each parameter's first and last epoch, whose step or next step is null.
    SELECT model, parameter, epoch, value, step, next_step, value - lag(value) OVER course AS went_before,
        lead(value) OVER course - value AS went_after
    FROM moves
    WHERE step IS NULL OR step <> 0 AND (next_step IS NULL OR sign(step) <> sign(next_step))
    WINDOW course AS (PARTITION BY model, parameter ORDER BY epoch)
), turns AS (
    SELECT * FROM swings
    WHERE step IS NOT NULL AND next_step IS NOT NULL
        AND abs(went_before) >= :least AND abs(went_after) >= :least
)
SELECT t.model, t.parameter, t.epoch, t.value, t.went_before, t.went_after, here.train_loss,
    (earlier.train_loss - here.train_loss) / :around AS loss_fall_before,
    (here.train_loss - later.train_loss) / :around AS loss_fall_after
FROM turns t
JOIN epochs here ON here.run_id = :run AND here.model = t.model AND here.epoch = t.epoch
LEFT JOIN epochs earlier
    ON earlier.run_id = :run AND earlier.model = t.model AND earlier.epoch = t.epoch - :around
LEFT JOIN epochs later
    ON later.run_id = :run AND later.model = t.model AND later.epoch = t.epoch + :around
ORDER BY t.model, t.epoch, t.parameter
