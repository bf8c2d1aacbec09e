-- What are the final parameters, and for a linear regression, in the table's own units?
-- :run  the run
-- With y = mean_y + range_y * (b + sum(w * (x - mean) / range)), a feature's weight in target units per unit
-- of the feature is w * range_y / range, and the bias is the prediction if every feature is 0.
WITH last AS (
    SELECT m.position AS place, m.name AS model,
        (SELECT max(e.epoch) FROM epochs e WHERE e.run_id = m.run_id AND e.model = m.name) AS epoch
    FROM models m
    WHERE m.run_id = :run
), units AS (
    SELECT p.position, p.name, f.mean, d.target_mean, d.target_maximum - d.target_minimum AS target_range,
        (d.target_maximum - d.target_minimum) / (f.maximum - f.minimum) AS scale,
        -- All parameters but the last are the features.
        count(*) OVER () = 1 + (SELECT count(*) FROM features WHERE dataset_id = d.id)
            AND count(*) OVER () = 1 + count(f.name) OVER () AS linear
    FROM parameters p
    JOIN runs r ON r.id = p.run_id
    JOIN datasets d ON d.id = r.dataset_id
    LEFT JOIN features f ON f.dataset_id = d.id AND f.position = p.position AND f.name = p.name
    WHERE p.run_id = :run
)
SELECT l.model, l.epoch, u.name AS parameter, h.value,
    CASE WHEN h.value > 0 THEN '+' WHEN h.value < 0 THEN '-' ELSE '0' END AS sign,
    CASE WHEN linear THEN coalesce(
        h.value * scale,
        CASE WHEN u.name = 'bias' THEN
            target_mean + h.value * target_range - sum(h.value * scale * mean) OVER (PARTITION BY l.model) END
    ) END AS in_original_units
FROM last l
JOIN parameter_history h ON h.run_id = :run AND h.model = l.model AND h.epoch = l.epoch
JOIN units u ON u.name = h.parameter
ORDER BY l.place, u.position
