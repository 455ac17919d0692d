# Two accounts, each with what it needs and no more. The service reads snapshots and asks the model; it may not read the
# spreadsheet. The job reads the spreadsheet (shared with it there) and writes snapshots.

resource "google_service_account" "service" {
  account_id   = "karute-service"
  display_name = "karute: answers questions"
}

resource "google_service_account" "job" {
  account_id   = "karute-job"
  display_name = "karute: rebuilds the snapshot"
}

resource "google_service_account" "clock" {
  account_id   = "karute-clock"
  display_name = "karute: starts the job"
}

resource "google_storage_bucket_iam_member" "service_reads" {
  bucket = google_storage_bucket.snapshots.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.service.member
}

resource "google_storage_bucket_iam_member" "job_writes" {
  bucket = google_storage_bucket.snapshots.name
  role   = "roles/storage.objectUser"
  member = google_service_account.job.member
}

resource "google_project_iam_member" "service_asks_the_model" {
  project = var.project
  role    = "roles/aiplatform.user"
  member  = google_service_account.service.member
}

resource "google_project_iam_member" "service_writes_metrics" {
  project = var.project
  role    = "roles/monitoring.metricWriter"
  member  = google_service_account.service.member
}

# `karute preflight` looks whether there are alerts.
resource "google_project_iam_member" "service_sees_alerts" {
  project = var.project
  role    = "roles/monitoring.viewer"
  member  = google_service_account.service.member
}

resource "google_secret_manager_secret" "all" {
  for_each = toset([
    "ADMIN_API_KEY", "ADMIN_API_KEY_PREVIOUS", "KARUTE_AUDIT_KEY", "DATABASE_URL", "KARUTE_PEOPLE",
    "KARUTE_COLLECTOR", "KARUTE_METRICS_TOKEN",
  ])
  secret_id = each.value

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.used]
}

# Only the service reads them; the job needs none.
resource "google_secret_manager_secret_iam_member" "service_reads" {
  for_each  = google_secret_manager_secret.all
  secret_id = each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.service.member
}

resource "google_cloud_run_v2_job_iam_member" "clock_starts" {
  name     = google_cloud_run_v2_job.sync.name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.clock.member
}

resource "google_cloud_run_v2_job_iam_member" "clock_starts_backups" {
  count    = var.backup_folder == "" ? 0 : 1
  name     = google_cloud_run_v2_job.backup[0].name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.clock.member
}

resource "google_cloud_run_v2_service_iam_member" "public" {
  count    = var.public ? 1 : 0
  name     = google_cloud_run_v2_service.karute.name
  location = var.region
  role     = "roles/run.invoker"
  member   = "allUsers"
}
