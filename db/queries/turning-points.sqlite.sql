-- Which parameters change direction, at which epoch, and does the train loss bend there?
-- :run  the run
-- :least = 0.001  distance that a parameter must move before and after a turn; less counts as rounding noise
-- :around = 50  epochs before and after the turn over which the fall of the train loss is measured
-- went_before is the distance from the previous turn (or start), went_after to the next turn (or end). A loss
-- that bends at the turn falls at clearly different rates before and after it.
WITH blocks AS (
    -- Three epochs each (fewer in a downsampled run), with the one before and the one after.
    -- LIMIT -1, here and below: SQLite does not merge such a query into the outer one and compute it again.
    SELECT e.model, e.epoch, e.weights AS w1,
        (SELECT o.weights FROM epochs o WHERE o.run_id = :run AND o.model = e.model AND o.epoch < e.epoch
            ORDER BY o.epoch DESC LIMIT 1) AS w0,
        (SELECT o.weights FROM epochs o WHERE o.run_id = :run AND o.model = e.model AND o.epoch > e.epoch
            ORDER BY o.epoch LIMIT 1) AS w2,
        (SELECT o.weights FROM epochs o WHERE o.run_id = :run AND o.model = e.model AND o.epoch > e.epoch
            ORDER BY o.epoch LIMIT 1 OFFSET 1) AS w3,
        (SELECT o.weights FROM epochs o WHERE o.run_id = :run AND o.model = e.model AND o.epoch > e.epoch
            ORDER BY o.epoch LIMIT 1 OFFSET 2) AS w4
    FROM epochs e
    WHERE e.run_id = :run AND (e.epoch % 3 = 0 OR NOT EXISTS (
        SELECT 1 FROM epochs o
        WHERE o.run_id = :run AND o.model = e.model AND o.epoch >= e.epoch - e.epoch % 3 AND o.epoch < e.epoch
    ))
    LIMIT -1
), courses AS NOT MATERIALIZED (
    -- One row for each block and weight. SQLite caches the last four parsed JSON texts, hence only four ->> here.
    SELECT b.model, b.epoch, w.key AS position, b.w0 ->> w.key AS v0, w.value AS v1, b.w2 ->> w.key AS v2,
        b.w3 ->> w.key AS v3, b.w4 ->> w.key AS v4
    FROM blocks b, json_each(b.w1) w
    LIMIT -1
), restless AS MATERIALIZED (
    -- The few blocks in which a weight is not strictly monotonic; only in these can it turn.
    SELECT c.model, c.position, c.epoch AS e1, c.v0, c.v1, c.v2, c.v3, c.v4,
        (SELECT o.epoch FROM epochs o WHERE o.run_id = :run AND o.model = c.model AND o.epoch > c.epoch
            ORDER BY o.epoch LIMIT 1) AS e2,
        (SELECT o.epoch FROM epochs o WHERE o.run_id = :run AND o.model = c.model AND o.epoch > c.epoch
            ORDER BY o.epoch LIMIT 1 OFFSET 1) AS e3
    FROM courses c
    WHERE (v0 < v1 AND v1 < v2 AND v2 < v3 AND v3 < v4 OR v0 > v1 AND v1 > v2 AND v2 > v3 AND v3 > v4) IS NOT TRUE
), parameters AS (
    SELECT model, e1 AS epoch, position, v1 AS here, v0 AS before, v2 AS after FROM restless
    UNION ALL
    -- If epochs are missing, the next ones may belong to another block.
    SELECT model, e2, position, v2, v1, v3 FROM restless WHERE e2 / 3 = e1 / 3
    UNION ALL
    SELECT model, e3, position, v3, v2, v4 FROM restless WHERE e3 / 3 = e1 / 3
    UNION ALL
    -- Normalised columns have a bias near 0, mostly noise: if it never moves as far as :least, it has no turns.
    SELECT model, epoch, 1000000, bias, lag(bias) OVER around, lead(bias) OVER around
    FROM epochs
    WHERE run_id = :run AND (SELECT max(bias) - min(bias) FROM epochs WHERE run_id = :run) >= :least
    WINDOW around AS (PARTITION BY model ORDER BY epoch)
    LIMIT -1
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
LEFT JOIN features f ON f.dataset_id = r.dataset_id AND f.position = t.position
JOIN epochs here ON here.run_id = :run AND here.model = t.model AND here.epoch = t.epoch
LEFT JOIN epochs earlier
    ON earlier.run_id = :run AND earlier.model = t.model AND earlier.epoch = t.epoch - :around
LEFT JOIN epochs later
    ON later.run_id = :run AND later.model = t.model AND later.epoch = t.epoch + :around
ORDER BY t.model, t.epoch, parameter
