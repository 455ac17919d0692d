variable "project" {
  type        = string
  description = "Google Cloud project."
}

variable "region" {
  type        = string
  default     = "asia-northeast1"
  description = "Where everything runs and lies. Another one may be outside Japan."
}

variable "spreadsheet" {
  type        = string
  description = "Id of the spreadsheet that holds the records; share it with the account of the job, as a viewer."
}

variable "tag" {
  type        = string
  default     = "latest"
  description = "Tag of the image karute: another one for each version, so that an apply puts it into force and can go back."
}

variable "schedule" {
  type        = string
  default     = "*/10 * * * *"
  description = "When the job runs, in Japan's time. A run over an unchanged spreadsheet is one call."
}

variable "settings" {
  type        = map(string)
  default     = {}
  description = "Further settings of the service, such as FIREBASE_PROJECT_ID and ALLOWED_ORIGINS (`karute config` lists them)."
}

variable "shared_settings" {
  type        = map(string)
  default     = {}
  description = "Further settings of the service and of the jobs, such as VERTEX_AI_EMBEDDINGS_MODEL and VERTEX_AI_EMBEDDINGS_DIMENSION: both must have the same."
}

variable "job_settings" {
  type        = map(string)
  default     = {}
  description = "Further settings of the jobs, such as VECTOR_DB_SHEETS, KARUTE_VECTORS and KARUTE_BUCKET_KEEP."
}

variable "backup_folder" {
  type        = string
  default     = ""
  description = "Id of a folder of a shared drive in which the account of the job may make files: a copy of the spreadsheet each night. None without it."
}

variable "rotating" {
  type        = bool
  default     = false
  description = "Whether the key of before, secret ADMIN_API_KEY_PREVIOUS, is good as well."
}

variable "public" {
  type        = bool
  default     = true
  description = "Whether the service is reached from the internet; it asks everybody to sign in itself."
}

variable "network" {
  type        = string
  default     = null
  description = "VPC network of the PostgreSQL, if it has a private address."
}

variable "subnetwork" {
  type        = string
  default     = null
  description = "Its subnetwork in the region."
}

variable "notification_channels" {
  type        = list(string)
  default     = []
  description = "Whom alerts reach: names such as projects/P/notificationChannels/1."
}
