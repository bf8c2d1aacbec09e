-- How far apart are the models, in which values, and from which epoch on?
-- :run  the run
-- Every other model is compared with the run's first. One row for each loss and parameter, the largest gap
-- first; first_epoch is the first that differs at all.
WITH pairs AS (
    -- No join of epochs: until the server has statistics of a run, it expects one or two, and would read all
    -- of one model for each epoch of the other.
    SELECT m.name AS model, first_value(m.name) OVER same AS against_model, m.position, e.epoch,
        min(m.position) OVER same AS against_position,
        ARRAY[e.train_loss, e.test_loss]::real[] || e.parameters AS a,
        first_value(ARRAY[e.train_loss, e.test_loss]::real[] || e.parameters) OVER same AS b
    FROM epochs e
    JOIN models m ON m.run_id = e.run_id AND m.name = e.model
    WHERE e.run_id = :run
    WINDOW same AS (PARTITION BY e.epoch ORDER BY m.position)
), quantities AS (
    SELECT 1 AS number, 'train loss' AS name UNION ALL SELECT 2, 'test loss'
    UNION ALL SELECT 3 + position, name FROM parameters WHERE run_id = :run
), gaps AS (
    SELECT model, against_model, epoch, generate_subscripts(a, 1) AS number,
        abs(unnest(a)::double precision - unnest(b)) AS gap
    FROM pairs
    WHERE position > 0 AND against_position = 0
), sizes AS (
    -- Few distinct gaps: most are a few units in the last place.
    SELECT model, against_model, number, gap, min(epoch) AS epoch
    FROM gaps
    GROUP BY model, against_model, number, gap
), ranked AS (
    SELECT model, against_model, name AS quantity, gap, epoch, max(gap) OVER one AS largest,
        min(CASE WHEN gap > 0 THEN epoch END) OVER one AS first_epoch
    FROM sizes
    JOIN quantities USING (number)
    WINDOW one AS (PARTITION BY model, number)
)
SELECT model, against_model, quantity, gap AS largest_gap, epoch, first_epoch
FROM ranked
WHERE gap = largest
ORDER BY model, largest_gap DESC, quantity
