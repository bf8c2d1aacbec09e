-- Where does the test loss rise while the train loss falls, and has it risen since its best?
-- :run  the run
-- :least = null  rise of the test loss that counts, relative to losses beyond 1; null for what rounding may explain
-- One row for each stretch, and one from the best test loss to the last epoch. parameters are those that turn in the
-- stretch. rows_for_half is the fewest test rows whose squared errors together grow by half of the rise. test_rows are
-- those whose squared errors grow most, counted from 1 in the test set, and shares their shares of the rise.
-- `job query` computes the answer from these rows in NumPy (job/computed.py).
SELECT model, epoch, train_loss, test_loss, parameters
FROM epochs
WHERE run_id = :run
ORDER BY model, epoch
