"""The model kind boosting: gradient boosting of trees, by XGBoost."""
