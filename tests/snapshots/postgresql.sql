$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1.$2 $3$4
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
$1: $2
CREATE INDEX ix_runs_dataset_id ON public.runs USING btree (dataset_id)
CREATE INDEX ix_verdicts_against_run_id ON public.verdicts USING btree (against_run_id)
CREATE INDEX ix_verdicts_run_id ON public.verdicts USING btree (run_id)
CREATE UNIQUE INDEX ledger_version_pkc ON public.ledger_version USING btree (version_num)
CREATE UNIQUE INDEX pk_datasets ON public.datasets USING btree (id)
CREATE UNIQUE INDEX pk_epochs ON public.epochs USING btree (run_id, model, epoch)
CREATE UNIQUE INDEX pk_features ON public.features USING btree (dataset_id, "position")
CREATE UNIQUE INDEX pk_runs ON public.runs USING btree (id)
CREATE UNIQUE INDEX pk_verdicts ON public.verdicts USING btree (id)
CREATE UNIQUE INDEX uq_datasets_name_sha256_target ON public.datasets USING btree (name, sha256, target)
CREATE UNIQUE INDEX uq_features_dataset_id_name ON public.features USING btree (dataset_id, name)
CREATE UNIQUE INDEX uq_runs_live_nightly ON public.runs USING btree (trigger) WHERE ((trigger = 'nightly'::text) AND (status = 'running'::text))
$1:$2
$1:$2
