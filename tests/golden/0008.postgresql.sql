CREATE TABLE public.archived_models (
    run_id bigint NOT NULL,
    model text NOT NULL,
    digest text NOT NULL,
    archived_at timestamp with time zone,
    trained_at bytea NOT NULL
);
CREATE TABLE public.archives (
    digest text NOT NULL,
    epochs integer NOT NULL,
    columns integer NOT NULL,
    packed bytea NOT NULL
);
CREATE TABLE public.baselines (
    id bigint NOT NULL,
    kind text NOT NULL,
    run_id bigint NOT NULL,
    reason text NOT NULL,
    set_by text NOT NULL,
    set_at timestamp with time zone NOT NULL,
    former_run_id bigint,
    first_epoch integer,
    worst double precision,
    environment_changes text,
    CONSTRAINT ck_baselines_kind CHECK ((kind = ANY (ARRAY['set'::text, 'cleared'::text])))
);
CREATE SEQUENCE public.baselines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.baselines_id_seq OWNED BY public.baselines.id;
CREATE TABLE public.blocks (
    run_id bigint NOT NULL,
    model text NOT NULL,
    last_epoch integer NOT NULL,
    digest text
);
CREATE TABLE public.datasets (
    id bigint NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    target text NOT NULL,
    train_rows integer NOT NULL,
    test_rows integer NOT NULL,
    target_minimum double precision NOT NULL,
    target_maximum double precision NOT NULL,
    target_mean double precision NOT NULL,
    sum_error double precision,
    reading text NOT NULL
);
CREATE SEQUENCE public.datasets_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.datasets_id_seq OWNED BY public.datasets.id;
CREATE TABLE public.epochs (
    run_id bigint NOT NULL,
    model text NOT NULL,
    epoch integer NOT NULL,
    train_loss double precision NOT NULL,
    test_loss double precision NOT NULL,
    parameters real[] CONSTRAINT epochs_weights_not_null NOT NULL,
    trained_at double precision NOT NULL,
    CONSTRAINT ck_epochs_epoch CHECK ((epoch >= 0)),
    CONSTRAINT ck_epochs_parameters CHECK ((NOT (parameters && '{NaN,Infinity,-Infinity}'::real[]))),
    CONSTRAINT ck_epochs_test_loss CHECK (((test_loss >= ('-340282350000000000000000000000000000000'::numeric)::double precision) AND (test_loss <= ('340282350000000000000000000000000000000'::numeric)::double precision))),
    CONSTRAINT ck_epochs_train_loss CHECK (((train_loss >= ('-340282350000000000000000000000000000000'::numeric)::double precision) AND (train_loss <= ('340282350000000000000000000000000000000'::numeric)::double precision)))
);
CREATE TABLE public.features (
    dataset_id bigint NOT NULL,
    "position" integer NOT NULL,
    name text NOT NULL,
    minimum double precision NOT NULL,
    maximum double precision NOT NULL,
    mean double precision NOT NULL
);
CREATE TABLE public.ledger_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.models (
    run_id bigint NOT NULL,
    "position" integer NOT NULL,
    name text NOT NULL,
    source text NOT NULL,
    source_sha256 text,
    digest text
);
CREATE TABLE public.parameters (
    run_id bigint NOT NULL,
    "position" integer NOT NULL,
    name text NOT NULL
);
CREATE VIEW public.parameter_history AS
 SELECT e.run_id,
    e.model,
    e.epoch,
    p.name AS parameter,
    (e.parameters[(p."position" + 1)])::double precision AS value
   FROM (public.epochs e
     JOIN public.parameters p ON ((p.run_id = e.run_id)));
CREATE VIEW public.parity_history AS
 SELECT m.run_id,
    m.name AS model,
    f.name AS against_model,
    b.epoch,
    abs((a.train_loss - b.train_loss)) AS train_loss_gap,
    abs((a.test_loss - b.test_loss)) AS test_loss_gap,
    ( SELECT max(abs(((w.a)::double precision - (w.b)::double precision))) AS max
           FROM UNNEST(a.parameters, b.parameters) w(a, b)) AS parameter_gap
   FROM (((public.models m
     JOIN public.models f ON (((f.run_id = m.run_id) AND (f."position" = 0))))
     JOIN public.epochs b ON (((b.run_id = m.run_id) AND (b.model = m.name))))
     JOIN public.epochs a ON (((a.run_id = m.run_id) AND (a.model = f.name) AND (a.epoch = b.epoch))))
  WHERE (m."position" > 0);
CREATE TABLE public.runs (
    id bigint NOT NULL,
    dataset_id bigint NOT NULL,
    epochs integer NOT NULL,
    learning_rate double precision NOT NULL,
    seed bigint NOT NULL,
    trigger text NOT NULL,
    status text NOT NULL,
    stop_reason text,
    created_at timestamp with time zone NOT NULL,
    heartbeat_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    resumes integer NOT NULL,
    environment jsonb NOT NULL,
    owner text,
    sweep text,
    thinned_every integer,
    pruning text,
    CONSTRAINT ck_runs_epochs CHECK ((epochs >= 1)),
    CONSTRAINT ck_runs_learning_rate CHECK ((learning_rate > (0)::double precision)),
    CONSTRAINT ck_runs_pruning CHECK ((pruning = ANY (ARRAY['delete'::text, 'thin'::text]))),
    CONSTRAINT ck_runs_status CHECK ((status = ANY (ARRAY['running'::text, 'completed'::text, 'interrupted'::text, 'crashed'::text, 'diverged'::text, 'failed'::text]))),
    CONSTRAINT ck_runs_thinned_every CHECK ((thinned_every >= 2)),
    CONSTRAINT ck_runs_trigger CHECK ((trigger = ANY (ARRAY['manual'::text, 'nightly'::text, 'sweep'::text])))
);
CREATE SEQUENCE public.runs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.runs_id_seq OWNED BY public.runs.id;
CREATE TABLE public.scheduled_runs (
    id bigint NOT NULL,
    schedule text,
    due_at timestamp with time zone NOT NULL,
    status text NOT NULL,
    run_id bigint,
    detail text,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_scheduled_runs_status CHECK ((status = ANY (ARRAY['due'::text, 'started'::text, 'skipped'::text, 'missed'::text, 'failed'::text])))
);
CREATE SEQUENCE public.scheduled_runs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.scheduled_runs_id_seq OWNED BY public.scheduled_runs.id;
CREATE TABLE public.store (
    id text NOT NULL
);
CREATE TABLE public.verdicts (
    id bigint NOT NULL,
    run_id bigint NOT NULL,
    kind text NOT NULL,
    against_run_id bigint,
    passed boolean NOT NULL,
    first_epoch integer,
    worst double precision,
    tolerance double precision NOT NULL,
    detail text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    model text,
    against_model text,
    CONSTRAINT ck_verdicts_kind CHECK ((kind = ANY (ARRAY['parity'::text, 'reference'::text, 'drift'::text, 'integrity'::text, 'exact'::text, 'audit'::text, 'baseline'::text])))
);
CREATE SEQUENCE public.verdicts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.verdicts_id_seq OWNED BY public.verdicts.id;
ALTER TABLE ONLY public.baselines ALTER COLUMN id SET DEFAULT nextval('public.baselines_id_seq'::regclass);
ALTER TABLE ONLY public.datasets ALTER COLUMN id SET DEFAULT nextval('public.datasets_id_seq'::regclass);
ALTER TABLE ONLY public.runs ALTER COLUMN id SET DEFAULT nextval('public.runs_id_seq'::regclass);
ALTER TABLE ONLY public.scheduled_runs ALTER COLUMN id SET DEFAULT nextval('public.scheduled_runs_id_seq'::regclass);
ALTER TABLE ONLY public.verdicts ALTER COLUMN id SET DEFAULT nextval('public.verdicts_id_seq'::regclass);
INSERT INTO public.baselines VALUES (1, 'set', 1, 'golden', 'nobody', '2026-11-30 12:20:14.72585+00', NULL, NULL, NULL, NULL);
INSERT INTO public.blocks VALUES (1, 'paddle', 4, 'decf0cdce2668150cc13e69c9fd5cd3abf10332c7657ce41b88d66c789c01b39');
INSERT INTO public.blocks VALUES (1, 'python', 4, 'decf0cdce2668150cc13e69c9fd5cd3abf10332c7657ce41b88d66c789c01b39');
INSERT INTO public.blocks VALUES (2, 'paddle', 3, '15b0440d50ba54afbcd9aa33be0aeded3533556795bb9447a11add57194ad102');
INSERT INTO public.blocks VALUES (2, 'python', 1, 'a19e0ce69aa88066dc1514be6fd3530bb49dd17a3ef8ff9a3a6c75815baa764f');
INSERT INTO public.datasets VALUES (1, 'made.csv', '0000000000000000000000000000000000000000000000000000000000000000', 'y', 24, 6, 0, 1, 0.5, NULL, '{}');
INSERT INTO public.epochs VALUES (1, 'paddle', 0, 0.54881352186203, 0.6458941102027893, '{0.14404356,1.4542735,0.7610377,-1.4543657}', 1700000000.943748);
INSERT INTO public.epochs VALUES (1, 'paddle', 1, 0.7151893377304077, 0.4375872015953064, '{0.121675014,0.44386324,0.33367434,0.045758516}', 1700000000.6818204);
INSERT INTO public.epochs VALUES (1, 'paddle', 2, 0.6027633547782898, 0.891772985458374, '{1.4940791,-0.20515826,0.3130677,-0.18718386}', 1700000000.3595078);
INSERT INTO public.epochs VALUES (1, 'paddle', 3, 0.5448831915855408, 0.9636627435684204, '{-0.85409576,-2.5529897,0.6536186,1.5327792}', 1700000000.437032);
INSERT INTO public.epochs VALUES (1, 'paddle', 4, 0.42365479469299316, 0.3834415078163147, '{0.8644362,-0.742165,2.2697546,1.4693588}', 1700000000.6976311);
INSERT INTO public.epochs VALUES (1, 'python', 0, 0.54881352186203, 0.6458941102027893, '{0.14404356,1.4542735,0.7610377,-1.4543657}', 1700000000.943748);
INSERT INTO public.epochs VALUES (1, 'python', 1, 0.7151893377304077, 0.4375872015953064, '{0.121675014,0.44386324,0.33367434,0.045758516}', 1700000000.6818204);
INSERT INTO public.epochs VALUES (1, 'python', 2, 0.6027633547782898, 0.891772985458374, '{1.4940791,-0.20515826,0.3130677,-0.18718386}', 1700000000.3595078);
INSERT INTO public.epochs VALUES (1, 'python', 3, 0.5448831915855408, 0.9636627435684204, '{-0.85409576,-2.5529897,0.6536186,1.5327792}', 1700000000.437032);
INSERT INTO public.epochs VALUES (1, 'python', 4, 0.42365479469299316, 0.3834415078163147, '{0.8644362,-0.742165,2.2697546,1.4693588}', 1700000000.6976311);
INSERT INTO public.epochs VALUES (2, 'paddle', 0, 0.54881352186203, 0.6458941102027893, '{0.14404356,1.4542735,0.7610377,-1.4543657}', 1700000000.943748);
INSERT INTO public.epochs VALUES (2, 'paddle', 1, 0.7151893377304077, 0.4375872015953064, '{0.121675014,0.44386324,0.33367434,0.045758516}', 1700000000.6818204);
INSERT INTO public.epochs VALUES (2, 'paddle', 2, 0.6027633547782898, 0.891772985458374, '{1.4940791,-0.20515826,0.3130677,-0.18718386}', 1700000000.3595078);
INSERT INTO public.epochs VALUES (2, 'paddle', 3, 0.5448831915855408, 0.9636627435684204, '{-0.85409576,-2.5529897,0.6536186,1.5327792}', 1700000000.437032);
INSERT INTO public.epochs VALUES (2, 'python', 0, 0.54881352186203, 0.6458941102027893, '{0.14404356,1.4542735,0.7610377,-1.4543657}', 1700000000.943748);
INSERT INTO public.epochs VALUES (2, 'python', 1, 0.7151893377304077, 0.4375872015953064, '{0.121675014,0.44386324,0.33367434,0.045758516}', 1700000000.6818204);
INSERT INTO public.features VALUES (1, 0, 'x0', 0, 1, 0.5);
INSERT INTO public.features VALUES (1, 1, 'x1', 0, 1, 0.5);
INSERT INTO public.features VALUES (1, 2, 'x2', 0, 1, 0.5);
INSERT INTO public.ledger_version VALUES ('0008');
INSERT INTO public.models VALUES (1, 0, 'paddle', 'paddle', NULL, 'decf0cdce2668150cc13e69c9fd5cd3abf10332c7657ce41b88d66c789c01b39');
INSERT INTO public.models VALUES (1, 1, 'python', 'python', NULL, 'decf0cdce2668150cc13e69c9fd5cd3abf10332c7657ce41b88d66c789c01b39');
INSERT INTO public.models VALUES (2, 0, 'paddle', 'paddle', NULL, NULL);
INSERT INTO public.models VALUES (2, 1, 'python', 'python', NULL, NULL);
INSERT INTO public.models VALUES (3, 0, 'paddle', 'paddle', NULL, NULL);
INSERT INTO public.models VALUES (3, 1, 'python', 'python', NULL, NULL);
INSERT INTO public.parameters VALUES (1, 0, 'x0');
INSERT INTO public.parameters VALUES (1, 1, 'x1');
INSERT INTO public.parameters VALUES (1, 2, 'x2');
INSERT INTO public.parameters VALUES (1, 3, 'bias');
INSERT INTO public.parameters VALUES (2, 0, 'x0');
INSERT INTO public.parameters VALUES (2, 1, 'x1');
INSERT INTO public.parameters VALUES (2, 2, 'x2');
INSERT INTO public.parameters VALUES (2, 3, 'bias');
INSERT INTO public.parameters VALUES (3, 0, 'x0');
INSERT INTO public.parameters VALUES (3, 1, 'x1');
INSERT INTO public.parameters VALUES (3, 2, 'x2');
INSERT INTO public.parameters VALUES (3, 3, 'bias');
INSERT INTO public.runs VALUES (1, 1, 5, 0.1, 7, 'manual', 'completed', NULL, '2026-11-30 12:20:12.010119+00', '2026-11-30 12:20:12.494321+00', '2026-11-30 12:20:12.494321+00', 0, '{"cpu": "golden"}', NULL, NULL, NULL, NULL);
INSERT INTO public.runs VALUES (2, 1, 5, 0.1, 7, 'manual', 'interrupted', 'on purpose', '2026-11-30 12:20:12.656267+00', '2026-11-30 12:20:12.955983+00', '2026-11-30 12:20:12.955983+00', 0, '{"cpu": "golden"}', NULL, NULL, NULL, NULL);
INSERT INTO public.runs VALUES (3, 1, 5, 0.1, 7, 'manual', 'diverged', 'on purpose', '2026-11-30 12:20:13.053627+00', '2026-11-30 12:20:13.201683+00', '2026-11-30 12:20:13.201683+00', 0, '{"cpu": "golden"}', NULL, NULL, NULL, NULL);
INSERT INTO public.scheduled_runs VALUES (1, '0 2 * * * UTC', '2026-01-02 02:00:00+00', 'started', 1, NULL, '2026-11-30 12:20:14.191188+00');
INSERT INTO public.store VALUES ('98f39faa2bac44be9db97c7bdb681cc7');
INSERT INTO public.verdicts VALUES (1, 1, 'parity', NULL, true, NULL, 0, 2e-06, 'golden', '2026-11-30 12:20:14.018305+00', 'python', 'paddle');
ALTER TABLE ONLY public.ledger_version
    ADD CONSTRAINT ledger_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.archived_models
    ADD CONSTRAINT pk_archived_models PRIMARY KEY (run_id, model);
ALTER TABLE ONLY public.archives
    ADD CONSTRAINT pk_archives PRIMARY KEY (digest);
ALTER TABLE ONLY public.baselines
    ADD CONSTRAINT pk_baselines PRIMARY KEY (id);
ALTER TABLE ONLY public.blocks
    ADD CONSTRAINT pk_blocks PRIMARY KEY (run_id, model, last_epoch);
ALTER TABLE ONLY public.datasets
    ADD CONSTRAINT pk_datasets PRIMARY KEY (id);
ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT pk_epochs PRIMARY KEY (run_id, model, epoch);
ALTER TABLE ONLY public.features
    ADD CONSTRAINT pk_features PRIMARY KEY (dataset_id, "position");
ALTER TABLE ONLY public.models
    ADD CONSTRAINT pk_models PRIMARY KEY (run_id, name);
ALTER TABLE ONLY public.parameters
    ADD CONSTRAINT pk_parameters PRIMARY KEY (run_id, "position");
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT pk_runs PRIMARY KEY (id);
ALTER TABLE ONLY public.scheduled_runs
    ADD CONSTRAINT pk_scheduled_runs PRIMARY KEY (id);
ALTER TABLE ONLY public.store
    ADD CONSTRAINT pk_store PRIMARY KEY (id);
ALTER TABLE ONLY public.verdicts
    ADD CONSTRAINT pk_verdicts PRIMARY KEY (id);
ALTER TABLE ONLY public.datasets
    ADD CONSTRAINT uq_datasets_name_sha256_target_reading UNIQUE (name, sha256, target, reading);
ALTER TABLE ONLY public.features
    ADD CONSTRAINT uq_features_dataset_id_name UNIQUE (dataset_id, name);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT uq_models_run_id_position UNIQUE (run_id, "position");
ALTER TABLE ONLY public.parameters
    ADD CONSTRAINT uq_parameters_run_id_name UNIQUE (run_id, name);
ALTER TABLE ONLY public.scheduled_runs
    ADD CONSTRAINT uq_scheduled_runs_schedule_due_at UNIQUE (schedule, due_at);
CREATE INDEX ix_archived_models_digest ON public.archived_models USING btree (digest);
CREATE INDEX ix_baselines_run_id ON public.baselines USING btree (run_id);
CREATE INDEX ix_runs_dataset_id ON public.runs USING btree (dataset_id);
CREATE INDEX ix_runs_sweep ON public.runs USING btree (sweep);
CREATE INDEX ix_scheduled_runs_run_id ON public.scheduled_runs USING btree (run_id);
CREATE INDEX ix_verdicts_against_run_id ON public.verdicts USING btree (against_run_id);
CREATE INDEX ix_verdicts_run_id ON public.verdicts USING btree (run_id);
CREATE UNIQUE INDEX uq_runs_live_nightly ON public.runs USING btree (trigger) WHERE ((trigger = 'nightly'::text) AND (status = 'running'::text));
ALTER TABLE ONLY public.archived_models
    ADD CONSTRAINT fk_archived_models_digest_archives FOREIGN KEY (digest) REFERENCES public.archives(digest);
ALTER TABLE ONLY public.archived_models
    ADD CONSTRAINT fk_archived_models_run_id_model_models FOREIGN KEY (run_id, model) REFERENCES public.models(run_id, name) ON DELETE CASCADE;
ALTER TABLE ONLY public.baselines
    ADD CONSTRAINT fk_baselines_former_run_id_runs FOREIGN KEY (former_run_id) REFERENCES public.runs(id);
ALTER TABLE ONLY public.baselines
    ADD CONSTRAINT fk_baselines_run_id_runs FOREIGN KEY (run_id) REFERENCES public.runs(id);
ALTER TABLE ONLY public.blocks
    ADD CONSTRAINT fk_blocks_run_id_runs FOREIGN KEY (run_id) REFERENCES public.runs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT fk_epochs_run_id_runs FOREIGN KEY (run_id) REFERENCES public.runs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.features
    ADD CONSTRAINT fk_features_dataset_id_datasets FOREIGN KEY (dataset_id) REFERENCES public.datasets(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.models
    ADD CONSTRAINT fk_models_run_id_runs FOREIGN KEY (run_id) REFERENCES public.runs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.parameters
    ADD CONSTRAINT fk_parameters_run_id_runs FOREIGN KEY (run_id) REFERENCES public.runs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT fk_runs_dataset_id_datasets FOREIGN KEY (dataset_id) REFERENCES public.datasets(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.scheduled_runs
    ADD CONSTRAINT fk_scheduled_runs_run_id_runs FOREIGN KEY (run_id) REFERENCES public.runs(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.verdicts
    ADD CONSTRAINT fk_verdicts_against_run_id_runs FOREIGN KEY (against_run_id) REFERENCES public.runs(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.verdicts
    ADD CONSTRAINT fk_verdicts_run_id_runs FOREIGN KEY (run_id) REFERENCES public.runs(id) ON DELETE CASCADE;
