"""Networks: pure functions behind `models.api.Model`.  They know nothing of data, losses or devices."""
