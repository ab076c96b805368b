"""The ingress in this process, whose pages these tests look at."""

from tests.edge.conftest import edge as edge
from tests.edge.conftest import make_edge as make_edge
from tests.edge.conftest import redis_url as redis_url
from tests.edge.conftest import store as store
from tests.edge.conftest import store_config as store_config
