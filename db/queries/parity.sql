-- How far apart are the two models, in what, and from which epoch on?
-- :run  the run
-- One row for each loss and parameter, the largest gap first; first_epoch is the first that differs at all.
-- SQLite keeps a weight as the shortest decimal of its float32. 536870913 is 2^29 + 1, and c v - (c v - v) is
-- then v rounded to float32's 24 bits (Veltkamp, 1968; Dekker, 1971): exact gaps, on PostgreSQL unchanged.
WITH parameters AS (
    SELECT epoch, parameter, 536870913.0 * value - (536870913.0 * value - value) AS value
    FROM parameter_history
    WHERE run_id = :run AND model IN ('paddle', 'python')
), gaps AS (
    SELECT epoch, 'train loss' AS quantity, train_loss_gap AS gap FROM parity_history WHERE run_id = :run
    UNION ALL
    SELECT epoch, 'test loss', test_loss_gap FROM parity_history WHERE run_id = :run
    UNION ALL
    SELECT epoch, parameter, max(value) - min(value)
    FROM parameters
    GROUP BY epoch, parameter
    HAVING count(*) = 2
), worst AS (
    SELECT quantity, max(gap) AS gap, min(CASE WHEN gap > 0 THEN epoch END) AS first_epoch
    FROM gaps
    GROUP BY quantity
)
SELECT w.quantity, w.gap AS largest_gap, min(g.epoch) AS epoch, w.first_epoch
FROM worst w
JOIN gaps g ON g.quantity = w.quantity AND g.gap = w.gap
GROUP BY w.quantity, w.gap, w.first_epoch
ORDER BY largest_gap DESC, w.quantity
