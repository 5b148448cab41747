#!/usr/bin/env bash
# Uploads a SavedModel to Vertex AI and deploys it: creates what is absent, and leaves what is there.
# Runs under bash 3.2 (macOS), with gcloud and the tools of POSIX.
set -euo pipefail

readonly EXIT_WRONG_USAGE=2

# sysexits.h: "a support program is missing"
readonly EXIT_NO_GCLOUD=69

readonly FLAGS='project region model name endpoint_name image signature machine_type accelerator min_replicas
max_replicas traffic service_account'

readonly PREBUILT_VERSION=2-15

usage() {
  cat <<'HELP'
deploy/vertex_deploy.sh --project PROJECT --region REGION --model gs://... --name NAME [FLAG VALUE]...

Uploads a SavedModel to Vertex AI, creates an endpoint, and deploys the one on the other, as far as they are not there:
a second start changes nothing. What is deployed already stays, and shares the requests as --traffic says.

  --project PROJECT         the project that pays
  --region REGION           where the endpoint is, such as europe-west4
  --model gs://BUCKET/DIR   the folder that has saved_model.pb. Other content must have another folder: what was
                            uploaded from this one is taken for the same
  --name NAME               the model's name: lower-case letters, digits, - and _. Another folder or image becomes its
                            next version
  --endpoint_name NAME      the endpoint's display name; that of the model if not given
  --image IMAGE             what serves it: an image made from deploy/serving/Dockerfile. If not given, Vertex AI's own
                            image of TensorFlow 2.15, which knows the signature serving_default only
  --signature NAME          the signature that an image of deploy/serving serves; serving_default if not given
  --machine_type TYPE       of each replica; n1-standard-4 if not given
  --accelerator TYPE[:N]    GPUs of each replica, such as nvidia-tesla-t4:1; none if not given. An image of
                            deploy/serving makes no use of them
  --min_replicas N          the fewest replicas, which always cost; 1 if not given
  --max_replicas N          the most; as many as the fewest if not given
  --traffic PERCENT         how many of the requests go to what is deployed now; 100 if not given. The rest goes to
                            what was deployed before, in its shares
  --service_account EMAIL   as whom the containers run; Vertex AI's own if not given
  --dry_run                 only print the commands that would change something
  --help

Instead of a flag there may be an environment variable: VERTEX_REGION for --region, and so on.
Prints the endpoint's resource name, and the command that predicts with it.
HELP
}

say() {
  printf '%s\n' "$@" >&2
}

problems=''
problem() { # TEXT
  problems="$problems  $1
"
}

project='' region='' model='' name='' endpoint_name='' image='' signature='' machine_type='' accelerator=''
min_replicas='' max_replicas='' traffic='' service_account='' dry_run=''

read_environment() {
  local flag variable
  for flag in $FLAGS; do
    variable=VERTEX_$(printf '%s' "$flag" | tr '[:lower:]' '[:upper:]')
    printf -v "$flag" '%s' "${!variable:-}"
  done
}

read_flags() { # ARGUMENT...
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage && exit ;;
      --dry_run) dry_run=yes ;;
      --*=*) set_flag "${1%%=*}" "${1#*=}" ;;
      --*)
        case "${2:---}" in
          --*) problem "$1 needs a value" ;;
          *) set_flag "$1" "$2" && shift ;;
        esac
        ;;
      *) problem "'$1' is no flag" ;;
    esac
    shift
  done
}

set_flag() { # --FLAG VALUE
  local flag
  for flag in $FLAGS; do
    if [ "--$flag" = "$1" ]; then
      printf -v "$flag" '%s' "$2"
      return
    fi
  done
  problem "$1 is no flag of this script"
}

set_defaults() {
  model=${model%/}
  : "${endpoint_name:=$name}" "${machine_type:=n1-standard-4}" "${min_replicas:=1}" "${traffic:=100}"
  : "${max_replicas:=$min_replicas}" "${image:=$(prebuilt_image)}"
}

# Each part of the world has the same images.
prebuilt_image() {
  local place=us kind=cpu
  case $region in
    europe-*) place=europe ;;
    asia-* | australia-*) place=asia ;;
  esac
  [ -z "$accelerator" ] || kind=gpu
  echo "$place-docker.pkg.dev/vertex-ai/prediction/tf2-$kind.$PREBUILT_VERSION:latest"
}

image_is_prebuilt() {
  [[ $image == *-docker.pkg.dev/vertex-ai/* || $image == *-docker.pkg.dev/vertex-ai-restricted/* ]]
}

check() {
  local flag
  for flag in project region model name; do
    [ -n "${!flag}" ] || problem "--$flag is missing"
  done
  [[ -z $model || $model =~ ^gs://[^,[:space:]]+$ ]] ||
    problem "--model must be a folder on gs://, without commas and spaces; got '$model'. Copy it there:
      gcloud storage cp -r '$model/*' gs://my-bucket/models/digits/1"
  check_name name
  [ "$endpoint_name" = "$name" ] || check_name endpoint_name
  check_number min_replicas 1 1000
  check_number max_replicas 1 1000
  check_number traffic 0 100
  if is_number "$min_replicas" && is_number "$max_replicas" && [ "$max_replicas" -lt "$min_replicas" ]; then
    problem "--max_replicas must not be less than --min_replicas; got $max_replicas and $min_replicas"
  fi
  [[ -z $accelerator || $accelerator =~ ^[a-z0-9-]+(:[1-9][0-9]*)?$ ]] ||
    problem "--accelerator must be a type, or TYPE:COUNT, such as nvidia-tesla-t4:1; got '$accelerator'"
  [[ $signature =~ ^[A-Za-z0-9_.-]*$ ]] || problem "--signature must be a name; got '$signature'"
  if [ -n "$signature" ] && image_is_prebuilt; then
    problem "--signature needs --image: Vertex AI's own images know serving_default only"
  fi
}

check_name() { # FLAG
  [[ -z ${!1} || ${!1} =~ ^[a-z][a-z0-9_-]{0,62}$ ]] ||
    problem "--$1 must begin with a lower-case letter, and have only those, digits, - and _; got '${!1}'"
}

is_number() { # TEXT
  [[ $1 =~ ^(0|[1-9][0-9]{0,3})$ ]]
}

check_number() { # FLAG LEAST MOST
  if ! is_number "${!1}" || [ "${!1}" -lt "$2" ] || [ "${!1}" -gt "$3" ]; then
    problem "--$1 must be a whole number from $2 to $3; got '${!1}'"
  fi
}

stop_if_wrong() {
  [ -n "$problems" ] || return 0
  say "deploy/vertex_deploy.sh:" "${problems%?}" "For example:" \
    "  deploy/vertex_deploy.sh --project my-project --region europe-west4 --name digits \\" \
    "    --model gs://my-bucket/models/digits/1" \
    "--help lists the flags."
  exit "$EXIT_WRONG_USAGE"
}

need_gcloud() {
  command -v gcloud >/dev/null && return
  say "deploy/vertex_deploy.sh needs gcloud: https://cloud.google.com/sdk/docs/install"
  exit "$EXIT_NO_GCLOUD"
}

ask() { # KIND COMMAND ARGUMENT...
  gcloud ai "$@" --project="$project" --region="$region" --quiet
}

run() { # WHAT KIND COMMAND ARGUMENT...: what changes something
  local what=$1
  shift
  if [ -z "$dry_run" ]; then
    say "$what ..."
    ask "$@" >&2
  else
    show gcloud ai "$@" --project="$project" --region="$region" --quiet
  fi
}

show() { # WORD...: as a line that a shell can run; a stray comma needs no backslash, whatever printf %q thinks
  local word line=''
  for word; do
    [[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]] || word=$(printf '%q' "$word")
    line="$line $word"
  done
  echo "${line# }"
}

# Prints the id of what is called so; nothing where there is none.
find_by_name() { # KIND NAME
  local id called found='' listed
  listed=$(ask "$1" list --format='csv[no-heading](name.basename(),displayName)') || return
  while IFS=, read -r id called; do
    [ "$called" = "$2" ] || continue
    if [ -n "$found" ]; then
      say "Two $1 of $region are called '$2', $found and $id: delete one, or take another name."
      return 1
    fi
    found=$id
  done <<<"$listed"
  printf '%s' "$found"
}

# The name of a version, by all that it follows from: Vertex AI does not tell which image a model was uploaded with.
version_alias() {
  printf 'deploy-%s' "$(printf '%s\n' "$model" "$image" "$signature" | cksum | tr -cs '0-9' '-' | sed 's/-*$//')"
}

# Prints the number of the version that has the alias; nothing where there is none.
find_version() { # MODEL_ID ALIAS
  local version aliases listed
  listed=$(ask models list-version "$1" --format='csv[no-heading](versionId,versionAliases)') || return
  while IFS=, read -r version aliases; do
    case ";$aliases;" in *";$2;"*) printf '%s' "$version" ;; esac
  done <<<"$listed"
}

upload() { # MODEL_ID ALIAS: the id is empty where it is the first version
  local -a arguments
  arguments=(--display-name="$name" --artifact-uri="$model" --container-image-uri="$image" --version-aliases="$2")
  if [ -n "$1" ]; then
    arguments+=(--parent-model="projects/$project/locations/$region/models/$1")
  else
    arguments+=(--model-id="$name")
  fi
  if ! image_is_prebuilt; then
    arguments+=(
      --container-ports=8080
      --container-predict-route="/v1/models/$name:predict"
      --container-health-route="/v1/models/$name"
      --container-env-vars="MODEL_NAME=$name${signature:+,SIGNATURE=$signature}"
    )
  fi
  run "Uploading $model (minutes)" models upload "${arguments[@]}"
}

# Prints ID MODEL_ID VERSION SHARE of each model that is deployed.
deployments() { # ENDPOINT_ID
  local id deployed version shares share listed
  listed=$(ask endpoints describe "$1" --flatten=deployedModels --format='csv[no-heading](deployedModels.id,
    deployedModels.model.basename(),deployedModels.modelVersionId,trafficSplit)') || return
  while IFS=, read -r id deployed version shares; do
    [ -n "$id" ] || continue
    share=";$shares;" # of all: ID=SHARE;ID=SHARE
    share=${share#*";$id="}
    case $share in ";"*) share=0 ;; esac
    echo "$id ${deployed%%@*} $version ${share%%;*}"
  done <<<"$listed"
}

# Prints how the requests are shared: 0 is what is deployed now, and the others have what is left, in their shares.
traffic_split() { # DEPLOYMENTS
  local id deployed version share total=0 left=$((100 - traffic)) given=0 split='' first=''
  while read -r id deployed version share; do total=$((total + ${share:-0})); done <<<"$1"
  if [ "$total" -eq 0 ]; then
    [ "$traffic" -eq 100 ] || say "Nothing else is deployed that takes requests: all of them go to $name."
    echo 0=100
    return
  fi
  while read -r id deployed version share; do
    share=$((share * left / total))
    if [ -z "$first" ]; then first=$id; fi
    if [ "$id" != "$first" ] && [ "$share" -gt 0 ]; then split="$split,$id=$share" given=$((given + share)); fi
  done <<<"$1"
  # The first has what rounding leaves.
  if [ $((left - given)) -gt 0 ]; then split="$split,$first=$((left - given))"; fi
  if [ "$traffic" -gt 0 ]; then split=",0=$traffic$split"; fi
  echo "${split#,}"
}

deploy() { # ENDPOINT_ID MODEL_ID ALIAS DEPLOYMENTS
  local -a arguments
  arguments=("$1" --model="$2@$3" --display-name="$name" --machine-type="$machine_type"
    --min-replica-count="$min_replicas" --max-replica-count="$max_replicas" --traffic-split="$(traffic_split "$4")")
  if [ -n "$accelerator" ]; then
    local count=1
    case $accelerator in *:*) count=${accelerator#*:} ;; esac
    arguments+=(--accelerator="type=${accelerator%%:*},count=$count")
  fi
  [ -z "$service_account" ] || arguments+=(--service-account="$service_account")
  run "Deploying $name (10 minutes and more)" endpoints deploy-model "${arguments[@]}"
}

# Prints the id of what is deployed of a version; nothing where that is not.
deployed_id() { # MODEL_ID VERSION DEPLOYMENTS
  local id deployed version share
  while read -r id deployed version share; do
    if [ "$deployed/$version" = "$1/$2" ]; then printf '%s' "$id" && return; fi
  done <<<"$3"
}

tell_others() { # ENDPOINT_ID ID_OF_THIS DEPLOYMENTS
  local id deployed version share
  while read -r id deployed version share; do
    if [ -z "$id" ] || [ "$id" = "$2" ]; then continue; fi
    say "Also deployed, and to be paid for: $deployed, version $version. To end that:" \
      "  gcloud ai endpoints undeploy-model $1 --deployed-model-id=$id --project=$project --region=$region"
  done <<<"$3"
}

tell_endpoint() { # ENDPOINT_ID
  local resource=projects/$project/locations/$region/endpoints/$1
  echo "$resource"
  echo "beam-predict --input 'gs://my-bucket/photos/**.jpg' --endpoint $resource --input_kind bytes" \
    "${signature:+--signature $signature }--output out/predictions"
  say "That is for a model which has one input, the content of a file. For others docs/endpoints.md has --input_kind," \
    "--item_input and --input_schema."
}

main() {
  read_environment
  read_flags "$@"
  set_defaults
  check
  stop_if_wrong
  need_gcloud
  ensure_version
  ensure_endpoint
  ensure_deployed
  if [ -z "$dry_run" ]; then tell_endpoint "$endpoint_id"; fi
}

# Sets model_id, alias, and version, which is empty where it was not there before.
ensure_version() {
  alias=$(version_alias)
  model_id=$(find_by_name models "$name")
  version=''
  if [ -n "$model_id" ]; then version=$(find_version "$model_id" "$alias"); fi
  if [ -z "$version" ]; then upload "$model_id" "$alias"; else say "Uploaded already: $name, version $version"; fi
  : "${model_id:=$name}"
}

# Sets endpoint_id and there: what is deployed.
ensure_endpoint() {
  there=''
  endpoint_id=$(find_by_name endpoints "$endpoint_name")
  if [ -n "$endpoint_id" ]; then
    there=$(deployments "$endpoint_id")
  else
    run "Creating the endpoint $endpoint_name" endpoints create --display-name="$endpoint_name"
    if [ -z "$dry_run" ]; then
      endpoint_id=$(find_by_name endpoints "$endpoint_name")
    else
      endpoint_id=ENDPOINT_ID
    fi
  fi
}

ensure_deployed() {
  local already=''
  if [ -n "$version" ]; then already=$(deployed_id "$model_id" "$version" "$there"); fi
  if [ -z "$already" ]; then
    deploy "$endpoint_id" "$model_id" "$alias" "$there"
  else
    say "Deployed already: $name, version $version, as $already; its machines and its share are left as they are."
  fi
  tell_others "$endpoint_id" "$already" "$there"
}

main "$@"
