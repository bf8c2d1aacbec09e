-- How far apart are the two models, in which values, and from which epoch on?
-- :run  the run
-- One row for each loss and parameter, the largest gap first; first_epoch is the first that differs at all.
-- SQLite stores a weight as the shortest decimal of its float32. With c = 536870913 = 2^29 + 1, c v - (c v - v)
-- is v rounded to float32's 24 bits (Veltkamp, 1968; Dekker, 1971), so the gaps are exact.
WITH pairs AS MATERIALIZED (
    SELECT a.epoch, a.train_loss AS train_a, b.train_loss AS train_b, a.test_loss AS test_a,
        b.test_loss AS test_b, a.bias AS bias_a, b.bias AS bias_b, a.weights AS weights_a, b.weights AS weights_b
    FROM epochs a
    JOIN epochs b ON b.run_id = a.run_id AND b.model = 'python' AND b.epoch = a.epoch
    WHERE a.run_id = :run AND a.model = 'paddle'
), decimals AS NOT MATERIALIZED (
    SELECT p.epoch, w.key AS number, w.value AS a, p.weights_b ->> w.key AS b
    FROM pairs p, json_each(p.weights_a) w
    -- Equal texts are equal weights.
    WHERE p.weights_a <> p.weights_b
    -- A query with a LIMIT is not merged into the outer one, which would parse a and b again at each use.
    LIMIT -1
), gaps AS NOT MATERIALIZED (
    SELECT epoch, -3 AS number, abs(train_a - train_b) AS gap FROM pairs WHERE train_a <> train_b
    UNION ALL
    SELECT epoch, -2, abs(test_a - test_b) FROM pairs WHERE test_a <> test_b
    UNION ALL
    SELECT epoch, -1, abs(bias_a - bias_b) FROM pairs WHERE bias_a <> bias_b
    UNION ALL
    SELECT epoch, number, abs(
            (536870913.0 * a - (536870913.0 * a - a)) - (536870913.0 * b - (536870913.0 * b - b))
        )
    FROM decimals
    WHERE a <> b
), sizes AS MATERIALIZED (
    -- Few distinct gaps: most are a few units in the last place.
    SELECT number, gap, min(epoch) AS epoch FROM gaps GROUP BY number, gap
), worst AS (
    SELECT number, max(gap) AS gap, min(epoch) AS first_epoch FROM sizes GROUP BY number
), peaks AS (
    SELECT w.number, w.gap, w.first_epoch, s.epoch
    FROM worst w
    JOIN sizes s ON s.number = w.number AND s.gap = w.gap
), quantities AS (
    SELECT -3 AS number, 'train loss' AS name UNION ALL SELECT -2, 'test loss' UNION ALL SELECT -1, 'bias'
    UNION ALL
    SELECT f.position, f.name FROM runs r JOIN features f ON f.dataset_id = r.dataset_id WHERE r.id = :run
)
SELECT q.name AS quantity, coalesce(p.gap, 0.0) AS largest_gap,
    coalesce(p.epoch, (SELECT min(epoch) FROM pairs)) AS epoch, p.first_epoch
FROM quantities q
LEFT JOIN peaks p ON p.number = q.number
WHERE EXISTS (SELECT 1 FROM pairs)
ORDER BY largest_gap DESC, quantity
