-- How far apart are the models, in which values, and from which epoch on?
-- :run  the run
-- Every other model is compared with the run's first. One row for each loss and parameter, the largest gap
-- first; first_epoch is the first that differs at all.
-- SQLite stores a parameter as the shortest decimal of its float32. With c = 536870913 = 2^29 + 1, c v - (c v - v)
-- is v rounded to float32's 24 bits (Veltkamp, 1968; Dekker, 1971), so the gaps are exact.
WITH pairs AS (
    SELECT m.name AS model, first_value(m.name) OVER same AS against_model, m.position, e.epoch,
        min(m.position) OVER same AS against_position,
        '[' || e.train_loss || ',' || e.test_loss || ',' || substr(e.parameters, 2) AS a,
        first_value('[' || e.train_loss || ',' || e.test_loss || ',' || substr(e.parameters, 2)) OVER same AS b
    FROM epochs e
    JOIN models m ON m.run_id = e.run_id AND m.name = e.model
    WHERE e.run_id = :run
    WINDOW same AS (PARTITION BY e.epoch ORDER BY m.position)
), quantities AS (
    SELECT 1 AS number, 'train loss' AS name UNION ALL SELECT 2, 'test loss'
    UNION ALL SELECT 3 + position, name FROM parameters WHERE run_id = :run
), decimals AS (
    -- A query with a LIMIT is not merged into the outer one, which would parse a and b again at each use.
    SELECT p.model, p.against_model, p.epoch, v.key + 1 AS number, v.value AS a, p.b ->> v.key AS b
    FROM pairs p, json_each(p.a) v
    WHERE p.position > 0 AND p.against_position = 0
    LIMIT -1
), gaps AS (
    SELECT model, against_model, epoch, number, abs(
            (536870913.0 * a - (536870913.0 * a - a)) - (536870913.0 * b - (536870913.0 * b - b))
        ) AS gap
    FROM decimals
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
