CREATE TABLE archived_models (
	run_id INTEGER NOT NULL,
	model TEXT NOT NULL,
	digest TEXT NOT NULL,
	archived_at DATETIME,
	trained_at BLOB NOT NULL,
	CONSTRAINT pk_archived_models PRIMARY KEY (run_id, model),
	CONSTRAINT fk_archived_models_run_id_model_models FOREIGN KEY(run_id, model) REFERENCES models (run_id, name) ON DELETE CASCADE,
	CONSTRAINT fk_archived_models_digest_archives FOREIGN KEY(digest) REFERENCES archives (digest)
);
CREATE TABLE archives (
	digest TEXT NOT NULL,
	epochs INTEGER NOT NULL,
	columns INTEGER NOT NULL,
	packed BLOB NOT NULL,
	CONSTRAINT pk_archives PRIMARY KEY (digest)
);
CREATE TABLE baselines (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	kind TEXT NOT NULL,
	run_id INTEGER NOT NULL,
	reason TEXT NOT NULL,
	set_by TEXT NOT NULL,
	set_at DATETIME NOT NULL,
	former_run_id INTEGER,
	first_epoch INTEGER,
	worst DOUBLE,
	environment_changes TEXT,
	CONSTRAINT ck_baselines_kind CHECK (kind IN ('set', 'cleared')),
	CONSTRAINT fk_baselines_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id),
	CONSTRAINT fk_baselines_former_run_id_runs FOREIGN KEY(former_run_id) REFERENCES runs (id)
);
CREATE TABLE blocks (
	run_id INTEGER NOT NULL,
	model TEXT NOT NULL,
	last_epoch INTEGER NOT NULL,
	digest TEXT,
	CONSTRAINT pk_blocks PRIMARY KEY (run_id, model, last_epoch),
	CONSTRAINT fk_blocks_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE "datasets" (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL,
	sha256 TEXT NOT NULL,
	target TEXT NOT NULL,
	train_rows INTEGER NOT NULL,
	test_rows INTEGER NOT NULL,
	target_minimum DOUBLE NOT NULL,
	target_maximum DOUBLE NOT NULL,
	target_mean DOUBLE NOT NULL,
	sum_error DOUBLE,
	reading TEXT NOT NULL,
	CONSTRAINT uq_datasets_name_sha256_target_reading UNIQUE (name, sha256, target, reading)
);
CREATE TABLE epochs (
	run_id INTEGER NOT NULL,
	model TEXT NOT NULL,
	epoch INTEGER NOT NULL,
	train_loss DOUBLE NOT NULL,
	test_loss DOUBLE NOT NULL,
	parameters TEXT NOT NULL,
	trained_at DOUBLE NOT NULL,
	CONSTRAINT pk_epochs PRIMARY KEY (run_id, model, epoch),
	CONSTRAINT ck_epochs_parameters CHECK (instr(parameters, 'n') = 0),
	CONSTRAINT ck_epochs_epoch CHECK (epoch >= 0),
	CONSTRAINT ck_epochs_train_loss CHECK (train_loss BETWEEN -3.4028235e38 AND 3.4028235e38),
	CONSTRAINT ck_epochs_test_loss CHECK (test_loss BETWEEN -3.4028235e38 AND 3.4028235e38),
	CONSTRAINT fk_epochs_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE features (
	dataset_id INTEGER NOT NULL,
	position INTEGER NOT NULL,
	name TEXT NOT NULL,
	minimum DOUBLE NOT NULL,
	maximum DOUBLE NOT NULL,
	mean DOUBLE NOT NULL,
	CONSTRAINT pk_features PRIMARY KEY (dataset_id, position),
	CONSTRAINT fk_features_dataset_id_datasets FOREIGN KEY(dataset_id) REFERENCES datasets (id) ON DELETE CASCADE,
	CONSTRAINT uq_features_dataset_id_name UNIQUE (dataset_id, name)
);
CREATE INDEX ix_archived_models_digest ON archived_models (digest);
CREATE INDEX ix_baselines_run_id ON baselines (run_id);
CREATE INDEX ix_runs_dataset_id ON runs (dataset_id);
CREATE INDEX ix_runs_sweep ON runs (sweep);
CREATE INDEX ix_scheduled_runs_run_id ON scheduled_runs (run_id);
CREATE INDEX ix_verdicts_against_run_id ON verdicts (against_run_id);
CREATE INDEX ix_verdicts_run_id ON verdicts (run_id);
CREATE TABLE ledger_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT ledger_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE models (
	run_id INTEGER NOT NULL,
	position INTEGER NOT NULL,
	name TEXT NOT NULL,
	source TEXT NOT NULL,
	source_sha256 TEXT,
	digest TEXT,
	CONSTRAINT pk_models PRIMARY KEY (run_id, name),
	CONSTRAINT fk_models_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT uq_models_run_id_position UNIQUE (run_id, position)
);
CREATE VIEW parameter_history (run_id, model, epoch, parameter, value) AS
        SELECT e.run_id, e.model, e.epoch, p.name, json_extract(e.parameters, '$[' || p.position || ']')
        FROM epochs e
        JOIN parameters p ON p.run_id = e.run_id;
CREATE TABLE parameters (
	run_id INTEGER NOT NULL,
	position INTEGER NOT NULL,
	name TEXT NOT NULL,
	CONSTRAINT pk_parameters PRIMARY KEY (run_id, position),
	CONSTRAINT fk_parameters_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT uq_parameters_run_id_name UNIQUE (run_id, name)
);
CREATE VIEW parity_history
            (run_id, model, against_model, epoch, train_loss_gap, test_loss_gap, parameter_gap) AS
        SELECT m.run_id, m.name, f.name, b.epoch, abs(a.train_loss - b.train_loss),
            abs(a.test_loss - b.test_loss), (
        SELECT max(abs(w.value - json_extract(b.parameters, '$[' || w.key || ']')))
        FROM json_each(a.parameters) w
    )
        FROM models m
        JOIN models f ON f.run_id = m.run_id AND f.position = 0
        JOIN epochs b ON b.run_id = m.run_id AND b.model = m.name
        JOIN epochs a ON a.run_id = m.run_id AND a.model = f.name AND a.epoch = b.epoch
        WHERE m.position > 0;
CREATE TABLE runs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	dataset_id INTEGER NOT NULL,
	epochs INTEGER NOT NULL,
	learning_rate DOUBLE NOT NULL,
	seed BIGINT NOT NULL,
	"trigger" TEXT NOT NULL,
	status TEXT NOT NULL,
	stop_reason TEXT,
	created_at DATETIME NOT NULL,
	heartbeat_at DATETIME NOT NULL,
	finished_at DATETIME,
	resumes INTEGER NOT NULL,
	environment JSON NOT NULL,
	owner TEXT, sweep TEXT, thinned_every INTEGER CONSTRAINT ck_runs_thinned_every CHECK (thinned_every >= 2), pruning TEXT CONSTRAINT ck_runs_pruning CHECK (pruning IN ('delete', 'thin')),
	CONSTRAINT ck_runs_epochs CHECK (epochs >= 1),
	CONSTRAINT ck_runs_learning_rate CHECK (learning_rate > 0),
	CONSTRAINT ck_runs_trigger CHECK (trigger IN ('manual', 'nightly', 'sweep')),
	CONSTRAINT ck_runs_status CHECK (status IN ('running', 'completed', 'interrupted', 'crashed', 'diverged', 'failed')),
	CONSTRAINT fk_runs_dataset_id_datasets FOREIGN KEY(dataset_id) REFERENCES datasets (id) ON DELETE CASCADE
);
CREATE TABLE scheduled_runs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	schedule TEXT,
	due_at DATETIME NOT NULL,
	status TEXT NOT NULL,
	run_id INTEGER,
	detail TEXT,
	created_at DATETIME NOT NULL,
	CONSTRAINT ck_scheduled_runs_status CHECK (status IN ('due', 'started', 'skipped', 'missed', 'failed')),
	CONSTRAINT fk_scheduled_runs_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE SET NULL,
	CONSTRAINT uq_scheduled_runs_schedule_due_at UNIQUE (schedule, due_at)
);
CREATE TABLE store (
	id TEXT NOT NULL,
	CONSTRAINT pk_store PRIMARY KEY (id)
);
CREATE UNIQUE INDEX uq_runs_live_nightly ON runs ("trigger") WHERE trigger = 'nightly' AND status = 'running';
CREATE TABLE verdicts (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	run_id INTEGER NOT NULL,
	kind TEXT NOT NULL,
	against_run_id INTEGER,
	passed BOOLEAN NOT NULL,
	first_epoch INTEGER,
	worst DOUBLE,
	tolerance DOUBLE NOT NULL,
	detail TEXT NOT NULL,
	created_at DATETIME NOT NULL,
	model TEXT,
	against_model TEXT,
	CONSTRAINT ck_verdicts_kind CHECK (kind IN ('parity', 'reference', 'drift', 'integrity', 'exact', 'audit', 'baseline')),
	CONSTRAINT fk_verdicts_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_verdicts_against_run_id_runs FOREIGN KEY(against_run_id) REFERENCES runs (id) ON DELETE SET NULL
);
