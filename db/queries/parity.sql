-- How far apart are the two models, in what, and from which epoch on?
-- :run  the run
-- One row for each loss and parameter, the largest gap first; first_epoch is the first that differs at all.
WITH pairs AS MATERIALIZED (
    SELECT a.epoch,
        ARRAY[a.train_loss, a.test_loss, a.bias] || a.weights::double precision[] AS a,
        ARRAY[b.train_loss, b.test_loss, b.bias] || b.weights::double precision[] AS b
    FROM epochs a
    JOIN epochs b ON b.run_id = a.run_id AND b.model = 'python' AND b.epoch = a.epoch
    WHERE a.run_id = :run AND a.model = 'paddle'
), gaps AS MATERIALIZED (
    SELECT p.epoch, g.number, abs(g.a - g.b) AS gap
    FROM pairs p, unnest(p.a, p.b) WITH ORDINALITY AS g (a, b, number)
    WHERE g.a <> g.b
), worst AS MATERIALIZED (
    SELECT number, max(gap) AS gap, min(epoch) AS first_epoch FROM gaps GROUP BY number
), peaks AS (
    SELECT w.number, w.gap, w.first_epoch, min(g.epoch) AS epoch
    FROM worst w
    JOIN gaps g ON g.number = w.number AND g.gap = w.gap
    GROUP BY w.number, w.gap, w.first_epoch
), quantities AS (
    SELECT * FROM (VALUES (1, 'train loss'), (2, 'test loss'), (3, 'bias')) AS common (number, name)
    UNION ALL
    SELECT f.position + 4, f.name FROM runs r JOIN features f ON f.dataset_id = r.dataset_id WHERE r.id = :run
)
SELECT q.name AS quantity, coalesce(p.gap, 0.0) AS largest_gap,
    coalesce(p.epoch, (SELECT min(epoch) FROM pairs)) AS epoch, p.first_epoch
FROM quantities q
LEFT JOIN peaks p ON p.number = q.number
WHERE EXISTS (SELECT 1 FROM pairs)
ORDER BY largest_gap DESC, quantity
