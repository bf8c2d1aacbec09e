-- What became of every scheduled run, and did it give the same bits as the one before, and as the baseline?
-- If it drifted: the first differing epoch and the largest gap, against run against_run.
SELECT n.id AS night, n.due_at,
    CASE WHEN n.status <> 'started' THEN n.status WHEN r.id IS NULL THEN 'pruned' ELSE r.status END AS outcome,
    n.run_id AS run,
    CASE WHEN v.id IS NULL THEN NULL WHEN v.passed THEN 'same bits' ELSE 'DIFFERS' END AS drift,
    v.against_run_id AS against_run, v.first_epoch, v.worst AS largest_gap,
    CASE WHEN b.id IS NULL THEN NULL WHEN b.passed THEN 'same bits' ELSE 'DIFFERS' END AS baseline,
    r.created_at AS began, r.finished_at AS ended, coalesce(n.detail, r.stop_reason) AS why
FROM scheduled_runs n
LEFT JOIN runs r ON r.id = n.run_id
LEFT JOIN verdicts v ON v.id = (
    SELECT min(w.id) FROM verdicts w
    WHERE w.run_id = n.run_id AND w.kind = 'drift' AND w.tolerance = 0 AND (
        w.against_run_id IS NULL
        OR w.against_run_id IN (SELECT b.id FROM runs b WHERE b.trigger = 'nightly' AND b.id < w.run_id)
    )
)
LEFT JOIN verdicts b ON b.id = (
    SELECT max(w.id) FROM verdicts w WHERE w.run_id = n.run_id AND w.kind = 'baseline'
)
ORDER BY n.due_at DESC, n.id DESC
