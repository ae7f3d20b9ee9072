# shellcheck shell=bash
# The node's configuration: containerd, pod network, kubelet, kube-proxy and their certificates.

node_config() {
  local names=DNS:$NODE_NAME,DNS:localhost,IP:127.0.0.1,IP:$NODE_IP
  local subject=/O=system:nodes/CN=system:node:$NODE_NAME
  (
    umask 077
    cp "$PKI/ca.crt" "$NODE_DIR/ca.crt"
    certificate ca "$NODE_DIR/kubelet-client" "$subject" clientAuth
    certificate ca "$NODE_DIR/kubelet-server" "$subject" serverAuth "$names"
    certificate ca "$NODE_DIR/kube-proxy" /CN=system:kube-proxy clientAuth
    kubeconfig "$NODE_DIR/kubelet.kubeconfig" "$NODE_DIR/kubelet-client"
    kubeconfig "$NODE_DIR/kube-proxy.kubeconfig" "$NODE_DIR/kube-proxy"
  )
  containerd_config >"$NODE_DIR/containerd.toml"
  mkdir -p "$NODE_DIR/cni"
  pod_network_config >"$NODE_DIR/cni/10-pods.conflist"
  kubelet_config >"$NODE_DIR/kubelet.yaml"
  kube_proxy_config >"$NODE_DIR/kube-proxy.yaml"
}

# restrict_oom_score_adj: without CAP_SYS_RESOURCE, which many containers and small machines lack, no
# process may lower its score.
containerd_config() {
  cat <<TOML
version = 2
root = '$INNER/containerd'
state = '/run/containerd'

[grpc]
  address = '$INNER/containerd.sock'

[ttrpc]
  address = '$INNER/containerd.sock.ttrpc'

[plugins.'io.containerd.internal.v1.opt']
  path = '$INNER/opt'

[plugins.'io.containerd.grpc.v1.cri']
  sandbox_image = 'localhost/pause:1'
  restrict_oom_score_adj = true
  disable_apparmor = true

  [plugins.'io.containerd.grpc.v1.cri'.cni]
    bin_dir = '$NODE_ROOT/usr/lib/cni'
    conf_dir = '$INNER/cni'

  [plugins.'io.containerd.grpc.v1.cri'.containerd]
    snapshotter = 'overlayfs'
    default_runtime_name = 'runc'

    [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]
      runtime_type = 'io.containerd.runc.v2'

      [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]
        BinaryName = '$NODE_ROOT/usr/sbin/runc'
        SystemdCgroup = false
TOML
}

# ptp, not bridge: a cable per pod and plain routes, so no bridge netfilter module is needed.
pod_network_config() {
  cat <<JSON
{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "$INNER/ipam",
        "ranges": [[{"subnet": "$POD_CIDR"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    }
  ]
}
JSON
}

# failCgroupV1: Kubernetes refuses cgroup v1 by default since 1.35; it still works.
# oomScoreAdj: see containerd_config.
kubelet_config() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $INNER/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $INNER/kubelet-server.crt
tlsPrivateKeyFile: $INNER/kubelet-server.key
containerRuntimeEndpoint: unix://$INNER/containerd.sock
imageServiceEndpoint: unix://$INNER/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$NODE_CGROUP
enforceNodeAllocatable: []
failSwapOn: false
failCgroupV1: false
makeIPTablesUtilChains: false
oomScoreAdj: 0
podLogsDir: $INNER/pod-logs
volumePluginDir: $INNER/volume-plugins
resolvConf: ""
clusterDomain: cluster.local
clusterDNS: [$DNS_IP]
evictionHard:
  memory.available: 100Mi
  nodefs.available: 1%
  nodefs.inodesFree: 1%
  imagefs.available: 1%
  imagefs.inodesFree: 1%
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 5s
YAML
}

kube_proxy_config() {
  cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
bindAddress: $NODE_IP
clientConnection: {kubeconfig: $INNER/kube-proxy.kubeconfig}
clusterCIDR: $POD_CIDR
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
}
