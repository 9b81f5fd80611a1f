"""Reads devices with Kubernetes' own client for Python: kubernetes_client.py URL TOKEN. Prints what it saw as JSON."""

import json
import sys

from kubernetes import client, dynamic

GROUP = ("devices.kubeedge.io", "v1beta1")


def main(url, token):
    configuration = client.Configuration()
    configuration.host = url
    configuration.api_key = {"authorization": "Bearer " + token}
    api = client.ApiClient(configuration)
    objects = client.CustomObjectsApi(api)
    devices = objects.list_cluster_custom_object(*GROUP, "devices")["items"]
    model = objects.get_namespaced_custom_object(*GROUP, "demo", "devicemodels", "pump-skid")
    # This one finds out by itself what the server has.
    statuses = dynamic.DynamicClient(api).resources.get(api_version="/".join(GROUP), kind="DeviceStatus")
    try:
        statuses.get(namespace="demo", name="lost")
        lost = None
    except client.exceptions.ApiException as error:
        lost = error.status
    seen = {
        "version": client.VersionApi(api).get_code().git_version,
        "devices": [device["metadata"]["name"] for device in devices],
        "model": model["kind"],
        "statuses": [status.metadata.name for status in statuses.get(namespace="demo").items],
        "lost": lost,
    }
    print(json.dumps(seen))


main(*sys.argv[1:])
