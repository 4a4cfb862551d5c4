"""The admin API of models, versions, uploads and patches."""
