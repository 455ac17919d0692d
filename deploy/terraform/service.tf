resource "google_cloud_run_v2_service" "karute" {
  name                = "karute"
  location            = var.region
  ingress             = "INGRESS_TRAFFIC_ALL"
  deletion_protection = true

  template {
    service_account                  = google_service_account.service.email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    max_instance_request_concurrency = 80
    timeout                          = "300s"

    scaling {
      min_instance_count = 1
      max_instance_count = 10
    }

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
      name  = "karute"
      image = "${local.images}/karute:${var.tag}"

      ports {
        container_port = 8080
      }

      resources {
        limits            = { cpu = "2", memory = "2Gi" }
        cpu_idle          = false
        startup_cpu_boost = true
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

      startup_probe {
        period_seconds    = 5
        timeout_seconds   = 3
        failure_threshold = 48
        http_get {
          path = "/health/ready"
          port = 8080
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 5
        failure_threshold = 3
        http_get {
          path = "/health/live"
          port = 8080
        }
      }

      volume_mounts {
        name       = "data"
        mount_path = "/data"
      }

      volume_mounts {
        name       = "people"
        mount_path = "/etc/karute-people"
      }
    }

    # Reads /metrics and hands it to Managed Prometheus.
    containers {
      name       = "metrics"
      image      = "us-docker.pkg.dev/cloud-ops-agents-artifacts/google-cloud-opentelemetry-collector/otelcol-google:0.147.0"
      args       = ["--config=/etc/otelcol-google/config.yaml"]
      depends_on = ["karute"]

      resources {
        limits   = { cpu = "500m", memory = "512Mi" }
        cpu_idle = false
      }

      volume_mounts {
        name       = "collector"
        mount_path = "/etc/otelcol-google"
      }

      volume_mounts {
        name       = "metrics-token"
        mount_path = "/etc/karute-metrics"
      }
    }

    volumes {
      name = "data"
      empty_dir {
        medium     = "MEMORY"
        size_limit = "1Gi"
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

    volumes {
      name = "collector"
      secret {
        secret = google_secret_manager_secret.all["KARUTE_COLLECTOR"].secret_id
        items {
          version = "latest"
          path    = "config.yaml"
        }
      }
    }

    volumes {
      name = "metrics-token"
      secret {
        secret = google_secret_manager_secret.all["KARUTE_METRICS_TOKEN"].secret_id
        items {
          version = "latest"
          path    = "token"
        }
      }
    }
  }

  traffic {
    type    = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    percent = 100
  }

  depends_on = [google_secret_manager_secret_iam_member.service_reads, google_storage_bucket_iam_member.service_reads]
}
