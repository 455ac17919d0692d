# All of karute on Google Cloud: bucket, secrets, two service accounts, the service, the job and its clock.
# The state store is PostgreSQL (secret DATABASE_URL), since up to ten instances share conversations, tokens, limits and the
# audit. It is not made here: name an instance that is backed up; `network` and `subnetwork` reach one with a private address.
# The values of secrets are not here either, since Terraform would keep them in its state: GUIDE.ja.md, 3.1.

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

locals {
  services = [
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    # Terraform itself reads and writes the rights of the project by it.
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "drive.googleapis.com",
    "iam.googleapis.com",
    "monitoring.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "sheets.googleapis.com",
    "storage.googleapis.com",
  ]
  images = "${var.region}-docker.pkg.dev/${var.project}/karute"
  bucket = "gs://${google_storage_bucket.snapshots.name}/snapshots"
  # What service and jobs must agree on.
  model = merge({
    GCP_PROJECT_ID       = var.project
    GCP_LOCATION         = var.region
    ENABLE_CLOUD_LOGGING = "true"
    KARUTE_BUCKET        = local.bucket
  }, var.shared_settings)
  reading = merge(local.model, { VECTOR_DB_SPREADSHEET_ID = var.spreadsheet }, var.job_settings)
  serving = merge(local.model, {
    ENVIRONMENT       = "production"
    KARUTE_DATA_DIR   = "/data/karute"
    KARUTE_PULL_EVERY = "300"
    KARUTE_EMBEDDER   = "vertex"
    KARUTE_ANSWERERS  = "vertex,extractive"
    KARUTE_PEOPLE     = "/etc/karute-people/people.toml"
  }, var.shared_settings, var.settings)
  secrets = concat(["ADMIN_API_KEY", "KARUTE_AUDIT_KEY", "DATABASE_URL"], var.rotating ? ["ADMIN_API_KEY_PREVIOUS"] : [])
}

resource "google_project_service" "used" {
  for_each           = toset(local.services)
  service            = each.value
  disable_on_destroy = false
}

resource "google_artifact_registry_repository" "images" {
  location      = var.region
  repository_id = "karute"
  format        = "DOCKER"
  depends_on    = [google_project_service.used]
}

# Whoever may read it may read the records.
resource "google_storage_bucket" "snapshots" {
  name                        = "${var.project}-karute"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  # Whoever is forgotten must be gone once the versions below are.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  # What was overwritten, or removed by the job (KARUTE_BUCKET_KEEP): by its age alone the current snapshot cannot be told from
  # others.
  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 30
    }
    action {
      type = "Delete"
    }
  }
}
