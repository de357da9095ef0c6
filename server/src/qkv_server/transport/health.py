"""The names by which the standard health service is asked, and asks for the whole server."""

from grpc_health.v1.health_pb2 import DESCRIPTOR

SERVICE = DESCRIPTOR.services_by_name["Health"].full_name
OVERALL = ""  # the name of the whole server among the services that health knows
