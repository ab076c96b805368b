"""What `hushcast up` runs: the whole application, and how to end its streams."""

from commands.local.application import LocalApp
from serve_app.main import bind
from serve_app.settings import Settings


def build_local_app(settings: Settings) -> LocalApp:
    """Build the application for `hushcast up`, with a drain that ends its streams."""
    application = bind(settings, (str(settings.data_dir),), has_environment=True)
    return LocalApp(application, "commands.local.waiter:end_streams")
