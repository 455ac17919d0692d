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
          for_each = local.reading
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

# A copy of the spreadsheet in Drive each night, in a folder that the account of the job may write to.
resource "google_cloud_run_v2_job" "backup" {
  count               = var.backup_folder == "" ? 0 : 1
  name                = "karute-backup"
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
        name  = "backup"
        image = "${local.images}/karute:${var.tag}"
        args  = ["backup"]

        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }

        dynamic "env" {
          for_each = merge(local.reading, { KARUTE_BACKUP_FOLDER = var.backup_folder })
          content {
            name  = env.key
            value = env.value
          }
        }
      }
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_cloud_scheduler_job" "backup_clock" {
  count            = var.backup_folder == "" ? 0 : 1
  name             = "karute-backup"
  region           = var.region
  schedule         = "15 2 * * *"
  time_zone        = "Asia/Tokyo"
  attempt_deadline = "60s"

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/projects/${var.project}/locations/${var.region}/jobs/${google_cloud_run_v2_job.backup[0].name}:run"

    oauth_token {
      service_account_email = google_service_account.clock.email
      scope                 = "https://www.googleapis.com/auth/cloud-platform"
    }
  }
}

# The checklist, as the service would see it: gcloud run jobs execute karute-preflight --wait; its log says what is wrong.
resource "google_cloud_run_v2_job" "preflight" {
  name                = "karute-preflight"
  location            = var.region
  deletion_protection = false

  template {
    parallelism = 1
    task_count  = 1

    template {
      service_account       = google_service_account.service.email
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
      max_retries           = 0
      timeout               = "600s"

      dynamic "vpc_access" {
        for_each = var.network == null ? [] : [var.network]
        content {
          egress = "PRIVATE_RANGES_ONLY"
          network_interfaces {
            network    = vpc_access.value
            subnetwork = var.subnetwork
          }
        }
      }

      containers {
        name  = "preflight"
        image = "${local.images}/karute:${var.tag}"
        args  = ["preflight"]

        resources {
          limits = { cpu = "2", memory = "2Gi" }
        }

        dynamic "env" {
          for_each = local.serving
          content {
            name  = env.key
            value = env.value
          }
        }

        dynamic "env" {
          for_each = toset(local.secrets)
          content {
            name = env.value
            value_source {
              secret_key_ref {
                secret  = google_secret_manager_secret.all[env.value].secret_id
                version = "latest"
              }
            }
          }
        }

        volume_mounts {
          name       = "people"
          mount_path = "/etc/karute-people"
        }
      }

      volumes {
        name = "people"
        secret {
          secret = google_secret_manager_secret.all["KARUTE_PEOPLE"].secret_id
          items {
            version = "latest"
            path    = "people.toml"
          }
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.service_reads, google_storage_bucket_iam_member.service_reads]
}
