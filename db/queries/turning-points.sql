-- Which parameters change direction, at which epoch, and does the train loss bend there?
-- :run  the run
-- :least = 0.001  distance that a parameter must move before and after a turn; less counts as rounding noise
-- :around = 50  epochs before and after the turn over which the fall of the train loss is measured
-- went_before is the distance from the previous turn (or start), went_after to the next turn (or end). A loss
-- that bends at the turn falls at clearly different rates before and after it.
WITH positions AS (
    SELECT array_agg(f.position ORDER BY f.position) AS positions
    FROM runs r
    JOIN features f ON f.dataset_id = r.dataset_id
    WHERE r.id = :run
), neighbours AS (
    SELECT model, epoch, weights AS here, lag(weights) OVER around AS before, lead(weights) OVER around AS after
    FROM epochs
    WHERE run_id = :run
    WINDOW around AS (PARTITION BY model ORDER BY epoch)
), weights AS (
    -- In the select list, the arrays are unnested in parallel without being copied.
    SELECT model, epoch, unnest((SELECT positions FROM positions)) AS position,
        unnest(here)::double precision AS here, unnest(before)::double precision AS before,
        unnest(after)::double precision AS after
    FROM neighbours
), parameters AS (
    SELECT model, epoch, position, here, before, after FROM weights
    UNION ALL
    -- Normalised columns have a bias near 0, mostly noise: if it never moves as far as :least, it has no turns.
    SELECT model, epoch, 1000000, bias, lag(bias) OVER around, lead(bias) OVER around
    FROM epochs
    WHERE run_id = :run AND (SELECT max(bias) - min(bias) FROM epochs WHERE run_id = :run) >= :least
    WINDOW around AS (PARTITION BY model ORDER BY epoch)
), steps AS (
    SELECT model, position, epoch, here AS value, here - before AS step, after - here AS next_step
    FROM parameters
), moves AS (
    -- The few epochs at which a parameter may turn. Epochs without a step say nothing about its direction,
    -- except the last of them, which has the next step.
    SELECT model, position, epoch, value, step, CASE
            WHEN next_step = 0 THEN lead(next_step) OVER (PARTITION BY model, position ORDER BY epoch)
            ELSE next_step
        END AS next_step
    FROM steps
    WHERE (sign(step) = sign(next_step)) IS NOT TRUE
), swings AS (
    -- The turns, and each parameter's first and last epoch, whose step or next step is null.
    SELECT model, position, epoch, value, step, next_step,
        value - lag(value) OVER (PARTITION BY model, position ORDER BY epoch) AS went_before,
        lead(value) OVER (PARTITION BY model, position ORDER BY epoch) - value AS went_after
    FROM moves
    -- With = instead of <>, the planner expects few rows, so psql (with jit on) does not compile the query.
    WHERE step IS NULL OR step <> 0 AND (next_step IS NULL OR sign(step) = -sign(next_step))
), turns AS MATERIALIZED (
    SELECT model, position, epoch, value, went_before, went_after
    FROM swings
    WHERE step IS NOT NULL AND next_step IS NOT NULL
        AND abs(went_before) >= :least AND abs(went_after) >= :least
), losses AS (
    -- Looked up one by one, not joined: until the server has statistics of a run, it expects one or two epochs,
    -- and would join them by reading all of them for each turn.
    SELECT t.model, t.position, t.epoch, t.value, t.went_before, t.went_after,
        (SELECT e.train_loss FROM epochs e
            WHERE e.run_id = :run AND e.model = t.model AND e.epoch = t.epoch - :around) AS earlier,
        (SELECT e.train_loss FROM epochs e
            WHERE e.run_id = :run AND e.model = t.model AND e.epoch = t.epoch) AS here,
        (SELECT e.train_loss FROM epochs e
            WHERE e.run_id = :run AND e.model = t.model AND e.epoch = t.epoch + :around) AS later
    FROM turns t
)
SELECT t.model, coalesce(f.name, 'bias') AS parameter, t.epoch, t.value, t.went_before, t.went_after,
    t.here AS train_loss, (t.earlier - t.here) / :around AS loss_fall_before,
    (t.here - t.later) / :around AS loss_fall_after
FROM losses t
JOIN runs r ON r.id = :run
LEFT JOIN features f ON f.dataset_id = r.dataset_id AND f.position = t.position
ORDER BY t.model, t.epoch, parameter
