# The very first time there is nothing to pull: gcloud run jobs execute karute-sync --args=sync,--push,--first
resource "google_cloud_run_v2_job" "sync" {
  name                = "karute-sync"
  location            = var.region
  deletion_protection = false

  template {
    parallelism = 1
    task_count  = 1

    template {
      service_account       = google_service_account.job.email
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
      max_retries           = 1
      timeout               = "3600s"

      containers {
        name  = "sync"
        image = "${local.images}/karute:${var.tag}"
        args  = ["sync", "--push"]

        resources {
          limits = { cpu = "2", memory = "2Gi" }
        }

        dynamic "env" {
          for_each = merge(local.model, { VECTOR_DB_SPREADSHEET_ID = var.spreadsheet })
          content {
            name  = env.key
            value = env.value
          }
        }
      }
    }
  }

  depends_on = [google_storage_bucket_iam_member.job_writes]
}

resource "google_cloud_scheduler_job" "clock" {
  name             = "karute-sync"
  region           = var.region
  schedule         = var.schedule
  time_zone        = "Asia/Tokyo"
  attempt_deadline = "60s"

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/projects/${var.project}/locations/${var.region}/jobs/${google_cloud_run_v2_job.sync.name}:run"

    oauth_token {
      service_account_email = google_service_account.clock.email
      scope                 = "https://www.googleapis.com/auth/cloud-platform"
    }
  }

  depends_on = [google_project_service.used]
}
