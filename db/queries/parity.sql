-- How far apart are the two models, in which values, and from which epoch on?
-- :run  the run
-- One row for each loss and parameter, the largest gap first; first_epoch is the first that differs at all.
WITH pairs AS MATERIALIZED (
    -- No join: until the server has statistics of a run, it expects one or two epochs, and would join them by
    -- reading all of them for each one.
    SELECT epoch,
        max(train_loss) FILTER (WHERE model = 'paddle') AS train_a,
        max(train_loss) FILTER (WHERE model = 'python') AS train_b,
        max(test_loss) FILTER (WHERE model = 'paddle') AS test_a,
        max(test_loss) FILTER (WHERE model = 'python') AS test_b,
        max(bias) FILTER (WHERE model = 'paddle') AS bias_a,
        max(bias) FILTER (WHERE model = 'python') AS bias_b,
        max(weights) FILTER (WHERE model = 'paddle') AS weights_a,
        max(weights) FILTER (WHERE model = 'python') AS weights_b
    FROM epochs
    WHERE run_id = :run AND model IN ('paddle', 'python')
    GROUP BY epoch
    HAVING count(*) = 2
), positions AS (
    SELECT array_agg(f.position ORDER BY f.position) AS positions
    FROM runs r
    JOIN features f ON f.dataset_id = r.dataset_id
    WHERE r.id = :run
), weights AS (
    -- In the select list, the arrays are unnested in parallel without being copied.
    SELECT epoch, unnest((SELECT positions FROM positions)) AS number,
        unnest(weights_a)::double precision AS a, unnest(weights_b)::double precision AS b
    FROM pairs
    WHERE weights_a <> weights_b
), gaps AS (
    SELECT epoch, -3 AS number, abs(train_a - train_b) AS gap FROM pairs WHERE train_a <> train_b
    UNION ALL
    SELECT epoch, -2, abs(test_a - test_b) FROM pairs WHERE test_a <> test_b
    UNION ALL
    SELECT epoch, -1, abs(bias_a - bias_b) FROM pairs WHERE bias_a <> bias_b
    UNION ALL
    SELECT epoch, number, abs(a - b) FROM weights WHERE a <> b
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
    SELECT * FROM (VALUES (-3, 'train loss'), (-2, 'test loss'), (-1, 'bias')) AS common (number, name)
    UNION ALL
    SELECT f.position, f.name FROM runs r JOIN features f ON f.dataset_id = r.dataset_id WHERE r.id = :run
)
SELECT q.name AS quantity, coalesce(p.gap, 0.0) AS largest_gap,
    coalesce(p.epoch, (SELECT min(epoch) FROM pairs)) AS epoch, p.first_epoch
FROM quantities q
LEFT JOIN peaks p ON p.number = q.number
WHERE EXISTS (SELECT 1 FROM pairs)
ORDER BY largest_gap DESC, quantity
