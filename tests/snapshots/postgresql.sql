archived_models.run_id bigint not null
archived_models.model text not null
archived_models.digest text not null
archived_models.archived_at timestamp with time zone
archived_models.trained_at bytea not null
archives.digest text not null
archives.epochs integer not null
archives.columns integer not null
archives.packed bytea not null
baselines.id bigint not null
baselines.kind text not null
baselines.run_id bigint not null
baselines.reason text not null
baselines.set_by text not null
baselines.set_at timestamp with time zone not null
baselines.former_run_id bigint
baselines.first_epoch integer
baselines.worst double precision
baselines.environment_changes text
blocks.run_id bigint not null
blocks.model text not null
blocks.last_epoch integer not null
blocks.digest text
datasets.id bigint not null
datasets.name text not null
datasets.sha256 text not null
datasets.target text not null
datasets.train_rows integer not null
datasets.test_rows integer not null
datasets.target_minimum double precision not null
datasets.target_maximum double precision not null
datasets.target_mean double precision not null
datasets.sum_error double precision
datasets.reading text not null
epochs.run_id bigint not null
epochs.model text not null
epochs.epoch integer not null
epochs.train_loss double precision not null
epochs.test_loss double precision not null
epochs.parameters ARRAY not null
epochs.trained_at double precision not null
features.dataset_id bigint not null
features.position integer not null
features.name text not null
features.minimum double precision not null
features.maximum double precision not null
features.mean double precision not null
ledger_version.version_num character varying not null
models.run_id bigint not null
models.position integer not null
models.name text not null
models.source text not null
models.source_sha256 text
models.digest text
parameter_history.run_id bigint
parameter_history.model text
parameter_history.epoch integer
parameter_history.parameter text
parameter_history.value double precision
parameters.run_id bigint not null
parameters.position integer not null
parameters.name text not null
parity_history.run_id bigint
parity_history.model text
parity_history.against_model text
parity_history.epoch integer
parity_history.train_loss_gap double precision
parity_history.test_loss_gap double precision
parity_history.parameter_gap double precision
runs.id bigint not null
runs.dataset_id bigint not null
runs.epochs integer not null
runs.learning_rate double precision not null
runs.seed bigint not null
runs.trigger text not null
runs.status text not null
runs.stop_reason text
runs.created_at timestamp with time zone not null
runs.heartbeat_at timestamp with time zone not null
runs.finished_at timestamp with time zone
runs.resumes integer not null
runs.environment jsonb not null
runs.owner text
runs.sweep text
runs.thinned_every integer
runs.pruning text
scheduled_runs.id bigint not null
scheduled_runs.schedule text
scheduled_runs.due_at timestamp with time zone not null
scheduled_runs.status text not null
scheduled_runs.run_id bigint
scheduled_runs.detail text
scheduled_runs.created_at timestamp with time zone not null
store.id text not null
verdicts.id bigint not null
verdicts.run_id bigint not null
verdicts.kind text not null
verdicts.against_run_id bigint
verdicts.passed boolean not null
verdicts.first_epoch integer
verdicts.worst double precision
verdicts.tolerance double precision not null
verdicts.detail text not null
verdicts.created_at timestamp with time zone not null
verdicts.model text
verdicts.against_model text
ck_baselines_kind: CHECK ((kind = ANY (ARRAY['set'::text, 'cleared'::text])))
ck_epochs_epoch: CHECK ((epoch >= 0))
ck_epochs_parameters: CHECK ((NOT (parameters && '{NaN,Infinity,-Infinity}'::real[])))
ck_epochs_test_loss: CHECK (((test_loss >= ('-340282350000000000000000000000000000000'::numeric)::double precision) AND (test_loss <= ('340282350000000000000000000000000000000'::numeric)::double precision)))
ck_epochs_train_loss: CHECK (((train_loss >= ('-340282350000000000000000000000000000000'::numeric)::double precision) AND (train_loss <= ('340282350000000000000000000000000000000'::numeric)::double precision)))
ck_runs_epochs: CHECK ((epochs >= 1))
ck_runs_learning_rate: CHECK ((learning_rate > (0)::double precision))
ck_runs_pruning: CHECK ((pruning = ANY (ARRAY['delete'::text, 'thin'::text])))
ck_runs_status: CHECK ((status = ANY (ARRAY['running'::text, 'completed'::text, 'interrupted'::text, 'crashed'::text, 'diverged'::text, 'failed'::text])))
ck_runs_thinned_every: CHECK ((thinned_every >= 2))
ck_runs_trigger: CHECK ((trigger = ANY (ARRAY['manual'::text, 'nightly'::text, 'sweep'::text])))
ck_scheduled_runs_status: CHECK ((status = ANY (ARRAY['due'::text, 'started'::text, 'skipped'::text, 'missed'::text, 'failed'::text])))
ck_verdicts_kind: CHECK ((kind = ANY (ARRAY['parity'::text, 'reference'::text, 'drift'::text, 'integrity'::text, 'exact'::text, 'audit'::text, 'baseline'::text])))
fk_archived_models_digest_archives: FOREIGN KEY (digest) REFERENCES archives(digest)
fk_archived_models_run_id_model_models: FOREIGN KEY (run_id, model) REFERENCES models(run_id, name) ON DELETE CASCADE
fk_baselines_former_run_id_runs: FOREIGN KEY (former_run_id) REFERENCES runs(id)
fk_baselines_run_id_runs: FOREIGN KEY (run_id) REFERENCES runs(id)
fk_blocks_run_id_runs: FOREIGN KEY (run_id) REFERENCES runs(id) ON DELETE CASCADE
fk_epochs_run_id_runs: FOREIGN KEY (run_id) REFERENCES runs(id) ON DELETE CASCADE
fk_features_dataset_id_datasets: FOREIGN KEY (dataset_id) REFERENCES datasets(id) ON DELETE CASCADE
fk_models_run_id_runs: FOREIGN KEY (run_id) REFERENCES runs(id) ON DELETE CASCADE
fk_parameters_run_id_runs: FOREIGN KEY (run_id) REFERENCES runs(id) ON DELETE CASCADE
fk_runs_dataset_id_datasets: FOREIGN KEY (dataset_id) REFERENCES datasets(id) ON DELETE CASCADE
fk_scheduled_runs_run_id_runs: FOREIGN KEY (run_id) REFERENCES runs(id) ON DELETE SET NULL
fk_verdicts_against_run_id_runs: FOREIGN KEY (against_run_id) REFERENCES runs(id) ON DELETE SET NULL
fk_verdicts_run_id_runs: FOREIGN KEY (run_id) REFERENCES runs(id) ON DELETE CASCADE
ledger_version_pkc: PRIMARY KEY (version_num)
pk_archived_models: PRIMARY KEY (run_id, model)
pk_archives: PRIMARY KEY (digest)
pk_baselines: PRIMARY KEY (id)
pk_blocks: PRIMARY KEY (run_id, model, last_epoch)
pk_datasets: PRIMARY KEY (id)
pk_epochs: PRIMARY KEY (run_id, model, epoch)
pk_features: PRIMARY KEY (dataset_id, "position")
pk_models: PRIMARY KEY (run_id, name)
pk_parameters: PRIMARY KEY (run_id, "position")
pk_runs: PRIMARY KEY (id)
pk_scheduled_runs: PRIMARY KEY (id)
pk_store: PRIMARY KEY (id)
pk_verdicts: PRIMARY KEY (id)
uq_datasets_name_sha256_target_reading: UNIQUE (name, sha256, target, reading)
uq_features_dataset_id_name: UNIQUE (dataset_id, name)
uq_models_run_id_position: UNIQUE (run_id, "position")
uq_parameters_run_id_name: UNIQUE (run_id, name)
uq_scheduled_runs_schedule_due_at: UNIQUE (schedule, due_at)
CREATE INDEX ix_archived_models_digest ON public.archived_models USING btree (digest)
CREATE INDEX ix_baselines_run_id ON public.baselines USING btree (run_id)
CREATE INDEX ix_runs_dataset_id ON public.runs USING btree (dataset_id)
CREATE INDEX ix_runs_sweep ON public.runs USING btree (sweep)
CREATE INDEX ix_scheduled_runs_run_id ON public.scheduled_runs USING btree (run_id)
CREATE INDEX ix_verdicts_against_run_id ON public.verdicts USING btree (against_run_id)
CREATE INDEX ix_verdicts_run_id ON public.verdicts USING btree (run_id)
CREATE UNIQUE INDEX ledger_version_pkc ON public.ledger_version USING btree (version_num)
CREATE UNIQUE INDEX pk_archived_models ON public.archived_models USING btree (run_id, model)
CREATE UNIQUE INDEX pk_archives ON public.archives USING btree (digest)
CREATE UNIQUE INDEX pk_baselines ON public.baselines USING btree (id)
CREATE UNIQUE INDEX pk_blocks ON public.blocks USING btree (run_id, model, last_epoch)
CREATE UNIQUE INDEX pk_datasets ON public.datasets USING btree (id)
CREATE UNIQUE INDEX pk_epochs ON public.epochs USING btree (run_id, model, epoch)
CREATE UNIQUE INDEX pk_features ON public.features USING btree (dataset_id, "position")
CREATE UNIQUE INDEX pk_models ON public.models USING btree (run_id, name)
CREATE UNIQUE INDEX pk_parameters ON public.parameters USING btree (run_id, "position")
CREATE UNIQUE INDEX pk_runs ON public.runs USING btree (id)
CREATE UNIQUE INDEX pk_scheduled_runs ON public.scheduled_runs USING btree (id)
CREATE UNIQUE INDEX pk_store ON public.store USING btree (id)
CREATE UNIQUE INDEX pk_verdicts ON public.verdicts USING btree (id)
CREATE UNIQUE INDEX uq_datasets_name_sha256_target_reading ON public.datasets USING btree (name, sha256, target, reading)
CREATE UNIQUE INDEX uq_features_dataset_id_name ON public.features USING btree (dataset_id, name)
CREATE UNIQUE INDEX uq_models_run_id_position ON public.models USING btree (run_id, "position")
CREATE UNIQUE INDEX uq_parameters_run_id_name ON public.parameters USING btree (run_id, name)
CREATE UNIQUE INDEX uq_runs_live_nightly ON public.runs USING btree (trigger) WHERE ((trigger = 'nightly'::text) AND (status = 'running'::text))
CREATE UNIQUE INDEX uq_scheduled_runs_schedule_due_at ON public.scheduled_runs USING btree (schedule, due_at)
parameter_history: SELECT e.run_id,
    e.model,
    e.epoch,
    p.name AS parameter,
    (e.parameters[(p."position" + 1)])::double precision AS value
   FROM (epochs e
     JOIN parameters p ON ((p.run_id = e.run_id)));
parity_history: SELECT m.run_id,
    m.name AS model,
    f.name AS against_model,
    b.epoch,
    abs((a.train_loss - b.train_loss)) AS train_loss_gap,
    abs((a.test_loss - b.test_loss)) AS test_loss_gap,
    ( SELECT max(abs(((w.a)::double precision - (w.b)::double precision))) AS max
           FROM UNNEST(a.parameters, b.parameters) w(a, b)) AS parameter_gap
   FROM (((models m
     JOIN models f ON (((f.run_id = m.run_id) AND (f."position" = 0))))
     JOIN epochs b ON (((b.run_id = m.run_id) AND (b.model = m.name))))
     JOIN epochs a ON (((a.run_id = m.run_id) AND (a.model = f.name) AND (a.epoch = b.epoch))))
  WHERE (m."position" > 0);
