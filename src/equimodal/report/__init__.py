"""Results over seeds as JSON, tables and figures. Nothing here imports torch."""
