-- How did the numbers move from baseline to baseline, and who accepted that?
-- A row for each model. largest_change is that of all models, against former_run, and null for the first baseline.
SELECT b.id AS baseline, b.kind, b.set_at, b.run_id AS run, d.name AS dataset, m.name AS model,
    substr(m.digest, 1, 12) AS digest, e.train_loss, e.test_loss, b.former_run_id AS former_run, b.first_epoch,
    b.worst AS largest_change, b.set_by, b.reason, b.environment_changes
FROM baselines b
JOIN runs r ON r.id = b.run_id
JOIN datasets d ON d.id = r.dataset_id
LEFT JOIN models m ON m.run_id = b.run_id AND b.kind = 'set'
LEFT JOIN epochs e ON e.run_id = b.run_id AND e.model = m.name AND e.epoch = r.epochs - 1
ORDER BY b.id, m.position
