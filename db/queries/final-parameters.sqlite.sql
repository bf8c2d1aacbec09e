-- What are the final weights and bias, for normalised columns and in the table's own units?
-- :run  the run
-- With y = mean_y + range_y * (b + sum(w * (x - mean) / range)), a feature's weight in target units per unit
-- of the feature is w * range_y / range, and the bias is the prediction if every feature is 0.
WITH last AS (
    SELECT model, max(epoch) AS epoch FROM epochs WHERE run_id = :run GROUP BY model
), final AS (
    SELECT e.model, e.epoch, f.name AS parameter, e.weights ->> f.position AS value
    FROM last l
    JOIN epochs e ON e.run_id = :run AND e.model = l.model AND e.epoch = l.epoch
    JOIN runs r ON r.id = :run
    JOIN features f ON f.dataset_id = r.dataset_id
    UNION ALL
    SELECT e.model, e.epoch, 'bias', e.bias
    FROM last l
    JOIN epochs e ON e.run_id = :run AND e.model = l.model AND e.epoch = l.epoch
), weights AS (
    SELECT p.model, p.epoch, f.position, p.parameter, p.value, f.mean,
        p.value * (d.target_maximum - d.target_minimum) / (f.maximum - f.minimum) AS original
    FROM final p
    JOIN runs r ON r.id = :run
    JOIN datasets d ON d.id = r.dataset_id
    JOIN features f ON f.dataset_id = d.id AND f.name = p.parameter
)
SELECT model, epoch, parameter, value,
    CASE WHEN value > 0 THEN '+' WHEN value < 0 THEN '-' ELSE '0' END AS sign,
    original AS in_original_units
FROM (
    SELECT model, epoch, position, parameter, value, original FROM weights
    UNION ALL
    SELECT b.model, b.epoch, 1000000, b.parameter, b.value,
        d.target_mean + b.value * (d.target_maximum - d.target_minimum)
            - (SELECT sum(w.original * w.mean) FROM weights w WHERE w.model = b.model)
    FROM final b
    JOIN runs r ON r.id = :run
    JOIN datasets d ON d.id = r.dataset_id
    WHERE b.parameter = 'bias'
) AS parameters
ORDER BY model, position
